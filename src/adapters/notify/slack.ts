import { wordsOf } from '../../core/proposal/notification.ts';
import { NotifyError } from '../../ports/notifier.ts';
import { postJson } from './post-json.ts';
import type { Sender } from './sender.ts';

/** Most characters of one message. */
const TEXT_CHARS = 8_000;

/** An incoming webhook as Slack has it, and others after it. Its whole address is a secret, so the declaration says on which host it must lie. */
export const sendSlack: Sender<'notifier-slack'> = async (spec, notification, { secret, network, signal }) => {
  const url = URL.parse((await secret(spec.urlRef)).trim());
  // T18: a secret that was put in the wrong place must not choose who gets it.
  if (url === null || url.host !== spec.host) throw new NotifyError('Refused', `the address that ${spec.urlRef} holds is not on ${spec.host}`);
  const { subject, text } = wordsOf(spec, notification, escapeMarkup);
  await postJson({ url, network, signal, headers: { 'user-agent': 'stella-gitops' }, body: JSON.stringify({ text: `${subject}\n${text}`.slice(0, TEXT_CHARS).toWellFormed(), unfurl_links: false, unfurl_media: false }) });
};

/** Values are text: they call nobody, link nowhere, and do not change how other text looks. */
function escapeMarkup(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replace(/[*~`@[\]!|]/g, (character) => `\u200b${character}`);
}
