import fc from 'fast-check';
import { micromark } from 'micromark';
import { gfm, gfmHtml } from 'micromark-extension-gfm';
import { describe, expect, it } from 'vitest';
import { code, fenced, fold, html, prose, table } from '../../src/core/proposal/markdown.ts';
import type { ProposalPlan } from '../../src/core/proposal/plan-model.ts';
import { inOrder } from '../../src/core/proposal/plan-order.ts';
import { renderMarkdown } from '../../src/core/proposal/render-markdown.ts';
import { renderText } from '../../src/core/proposal/render-text.ts';
import { comparePlans } from '../../src/core/proposal/compare-plans.ts';
import { HOSTILE, hostilePlan } from './plan-arbitraries.ts';

const EVERYTHING = 1_000_000;

/** As a forge shows it, with the HTML that it holds. */
function shown(markdown: string): string {
  return micromark(markdown, { allowDangerousHtml: true, extensions: [gfm()], htmlExtensions: [gfmHtml()] });
}

const tagsOf = (text: string): readonly string[] => [...text.matchAll(/<\/?[a-z!][^>]*>/gi)].map(([tag]) => tag);

/** What is not in code: there forges look for names and addresses. */
function readText(text: string): string {
  return text.replace(/<code[^>]*>[^]*?<\/code>/g, '').replace(/<[^>]*>/g, '\n').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');
}

/** The same plan with words that nobody would mind, in the same places. */
function tamed(plan: ProposalPlan): ProposalPlan {
  const words = new Map<string, string>();
  const tame = (value: unknown, key: string): unknown => {
    if (typeof value === 'string' && value.startsWith('a') && !['added', 'approvals', 'allow'].includes(value)) {
      words.set(value, words.get(value) ?? `a${String(words.size).padStart(4, '0')}`);
      return words.get(value);
    }
    if (typeof value === 'string' && key === 'diff') return value.split('\n').map(() => '+a').join('\n');
    if (Array.isArray(value)) return value.map((one) => tame(one, key));
    return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, tame(one, name)])) : value;
  };
  return tame(plan, '') as ProposalPlan;
}

/** How many backticks would close the fence that is open at the end; 0 where none is. */
function openFence(markdown: string): number {
  return markdown.split('\n').reduce((open, line) => {
    const [, ticks = '', rest = ''] = /^ {0,3}(`{3,})([^`]*)$/.exec(line) ?? [];
    if (ticks === '') return open;
    if (open === 0) return ticks.length;
    return ticks.length >= open && rest.trim() === '' ? 0 : open;
  }, 0);
}

describe('a plan as Markdown', () => {
  it('keeps hostile words where they stand: a forge sees the elements of the plan, and no others', () => {
    fc.assert(fc.property(hostilePlan, fc.constantFrom('details' as const, 'none' as const), (given, folds) => {
      // Sorted beforehand: the harmless words would stand in another order.
      const plan = inOrder(given);
      const count = (one: ProposalPlan): ReadonlyMap<string, number> => new Map([...Map.groupBy(tagsOf(shown(renderMarkdown(one, { maxChars: EVERYTHING, folds }))), (tag) => tag)].map(([tag, all]) => [tag, all.length] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
      expect(count(plan)).toEqual(count(tamed(plan)));
    }), { numRuns: 120 });
  });

  it('holds no link, no image, no script, no comment, and no name or address that a forge would make something of', () => {
    fc.assert(fc.property(hostilePlan, (plan) => {
      const result = shown(renderMarkdown(plan, { maxChars: EVERYTHING }));
      for (const tag of tagsOf(result)) expect(tag).toMatch(/^<\/?(?:h3|h4|p|table|thead|tbody|tr|th|td|code(?: class="language-(?:diff|sh)")?|pre|ul|li|details|summary|strong)>$/);
      expect(readText(result)).not.toMatch(/[@#!%~$][\p{L}\p{N}_"'-]|&\d|:\/\/|www\.|\bGH-|:tada:|mailto:/u);
    }), { numRuns: 120 });
  });

  it('keeps to every limit, with all that it opens closed', () => {
    fc.assert(fc.property(hostilePlan, fc.oneof(fc.nat(400), fc.nat(6_000)), fc.constantFrom('details' as const, 'none' as const), (plan, maxChars, folds) => {
      const markdown = renderMarkdown(plan, { maxChars, folds });
      expect(markdown.length).toBeLessThanOrEqual(maxChars);
      const tags = tagsOf(shown(markdown));
      for (const name of ['details', 'summary']) expect(tags.filter((tag) => tag === `<${name}>`)).toHaveLength(tags.filter((tag) => tag === `</${name}>`).length);
      // The last line of a fence that was cut away would leave everything after it in code.
      expect(openFence(markdown)).toBe(0);
      if (maxChars >= 60) expect(markdown).toMatch(/^### Plan: /);
    }), { numRuns: 250 });
  });

  it('says what it left out, and leaves out the least important first', () => {
    fc.assert(fc.property(hostilePlan, (plan) => {
      const whole = renderMarkdown(plan, { maxChars: EVERYTHING });
      expect(whole).not.toContain('Shortened to fit');
      expect(renderMarkdown(plan, { maxChars: whole.length })).toBe(whole);
      const less = renderMarkdown(plan, { maxChars: whole.length - 1 });
      if (whole.includes('unchanged</summary>') && less.includes('Shortened')) expect(less).toMatch(/unchanged parts|passed gates|places|differences/);
      if (less.includes('<details><summary>1 unchanged')) expect(less).toContain('| Where | Release |');
    }));
  });

  it('is the same every time, and in whatever order its lists are', () => {
    fc.assert(fc.property(hostilePlan, (plan) => {
      const turned: ProposalPlan = { ...plan, promotions: [...plan.promotions].reverse(), protectedChanges: [...plan.protectedChanges].reverse(), releases: [...plan.releases].reverse(), findings: [...plan.findings].reverse() };
      const isDistinct = [plan.promotions.map((one) => `${one.environment}/${one.application}`), plan.protectedChanges.map((one) => `${one.kind}/${one.name}`), plan.releases.map((one) => one.name)].every((list) => new Set(list).size === list.length);
      fc.pre(isDistinct);
      expect(renderMarkdown(turned, { maxChars: 3_000 })).toBe(renderMarkdown(plan, { maxChars: 3_000 }));
      expect(renderText(turned)).toBe(renderText(plan));
      expect(comparePlans(plan, turned)).toEqual([]);
    }));
  });
});

describe('each place of Markdown', () => {
  it('shows in code exactly what was given, but for what moves a cursor and for a bar', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom(...HOSTILE), { maxLength: 6 }).map((parts) => parts.join('')), (text) => {
      const visible = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD').replaceAll('|', '¦');
      const [, inside] = /^<p>before <code>([^]*)<\/code> after<\/p>$/.exec(shown(`before ${code(text)} after`)) ?? [];
      if (visible === '') return;
      expect((inside ?? 'none').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&')).toBe(visible);
    }));
  });

  it('is one paragraph, one cell, one title or one block, whatever it holds', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom(...HOSTILE), { maxLength: 8 }).map((parts) => parts.join('')), (text) => {
      expect(tagsOf(shown(`x ${prose(text)}`))).toEqual(['<p>', '</p>']);
      expect(tagsOf(shown(`- ${prose(`${text}x`)}`))).toEqual(['<ul>', '<li>', '</li>', '</ul>']);
      expect(tagsOf(shown(table(['a', 'b'], [[prose(text), code(`x${text}`)]]))).filter((tag) => /^<t[dh]>/.test(tag))).toHaveLength(4);
      expect(tagsOf(shown(fenced(text)))).toEqual(['<pre>', '<code>', '</code>', '</pre>']);
      expect(tagsOf(shown(fold(text, 'body', 'details')))).toEqual(['<details>', '<summary>', '</summary>', '<p>', '</p>', '</details>']);
      expect(html(text)).not.toMatch(/[<>"']/);
    }));
  });
});
