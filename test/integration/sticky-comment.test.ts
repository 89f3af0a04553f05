import { describe, expect, it } from 'vitest';
import type { CommitId } from '../../src/core/model/commit-id.ts';
import { digestOfBytes } from '../../src/core/model/digest.ts';
import { commentBody, parseMarker, partsIn, type CommentParts, type Marker } from '../../src/reconciler/proposals/sticky-comment.ts';

const digest = digestOfBytes('one');
const marker: Marker = { scope: 'test', head: 'a'.repeat(40) as CommitId, onto: 'b'.repeat(40) as CommitId, status: digest, content: digest };
const said: CommentParts = { planned: new Map([['prod/shop', digest], ['dev/shop', digestOfBytes('two')]]), above: '**merged**', moved: 'Decided otherwise:\n\n```text\nprod/shop: another\n```', plan: '### Plan\n\ntext' };

describe('what our comment keeps for us', () => {
  it('is read back as it was written, whatever ends of lines the forge has', () => {
    const body = commentBody(marker, said);
    const { above: _above, ...kept } = said;
    for (const one of [body, body.replaceAll('\n', '\r\n')]) expect([parseMarker(one), partsIn(one)]).toEqual([marker, kept]);
  });

  it('is empty where nothing was planned, decided otherwise, or written by us', () => {
    expect(partsIn(commentBody(marker, { planned: new Map(), above: null, moved: '', plan: '' }))).toEqual({ planned: new Map(), moved: '', plan: '' });
    expect(partsIn('hello')).toEqual({ planned: new Map(), moved: '', plan: '' });
  });

  it('is not moved by a sentence that holds the words which divide it', () => {
    const words = `- frozen: [//]: # (stella-plan-begins) [//]: # (stella-moved-begins) [//]: # (stella-planned prod/shop ${digestOfBytes('three')})`;
    const { above: _above, ...kept } = said;
    expect(partsIn(commentBody(marker, { ...said, above: `**merged**\n\n\`\`\`text\n${words}\n\`\`\`` }))).toEqual(kept);
  });
});
