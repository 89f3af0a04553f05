import type { Context } from 'koa';

/** Why a request was not answered as asked. Stable: clients may depend on them. */
export type ProblemCode =
  | 'NotFound' | 'MethodNotAllowed' | 'QueryInvalid' | 'StorageUnavailable' | 'BodyTooLarge' | 'SignatureMissing' | 'SignatureInvalid' | 'DeliveryInvalid' | 'PayloadInvalid' | 'WebhookOff' | 'InternalError';

const PROBLEMS: Readonly<Record<ProblemCode, { readonly status: number; readonly title: string }>> = {
  NotFound: { status: 404, title: 'There is no such thing' },
  MethodNotAllowed: { status: 405, title: 'This can only be read' },
  QueryInvalid: { status: 400, title: 'The query cannot be understood' },
  StorageUnavailable: { status: 503, title: 'The storage does not answer' },
  BodyTooLarge: { status: 413, title: 'The body is too large' },
  SignatureMissing: { status: 401, title: 'The delivery is not signed' },
  SignatureInvalid: { status: 401, title: 'The signature does not match' },
  DeliveryInvalid: { status: 400, title: 'The delivery has no usable id' },
  PayloadInvalid: { status: 400, title: 'The delivery cannot be understood' },
  WebhookOff: { status: 404, title: 'No webhook is configured' },
  InternalError: { status: 500, title: 'Something went wrong here' },
};

/** A request that cannot be answered as asked; becomes problem details. */
export class Problem extends Error {
  readonly code: ProblemCode;

  constructor(code: ProblemCode, detail: string, cause?: unknown) {
    super(detail, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** Source: RFC 9457. */
export function answerProblem(context: Context, { code, message }: Pick<Problem, 'code' | 'message'>): void {
  const { status, title } = PROBLEMS[code];
  context.status = status;
  context.type = 'application/problem+json';
  if (status === 503) context.set('Retry-After', '5');
  context.body = JSON.stringify({ type: `urn:stella:problem:${code}`, title, status, code, detail: message, instance: context.path });
}
