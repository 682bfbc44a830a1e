/** Words as recognisers are scored on them, and how many of them are wrong. */

/** Titles that recognisers shorten and references spell out, as in Whisper's English normaliser. */
const titles: ReadonlyMap<string, string> = new Map(Object.entries({ mr: 'mister', mrs: 'missus', dr: 'doctor', st: 'saint', prof: 'professor' }));

/** What `words` does, for people. */
export const wordNormalisation = 'compatibility characters composed (NFKC), lower case, what stands in brackets left out, everything but letters, digits and apostrophes inside words '
  + 'a space, mr, mrs, dr, st and prof spelt out';

/**
 * The words of a text in the form in which they are compared; see `wordNormalisation`. It is Whisper's basic normaliser (Radford et al. 2022,
 * appendix C), which is for any language with spaces between words, but for apostrophes and titles. Numbers stay as they are written.
 */
export function words(text: string): string[] {
  return text.normalize('NFKC').toLowerCase()
    .replace(/[([<][^)\]>]*[)\]>]/g, ' ')
    .replace(/[’ʼ`]/g, '\'')
    .replace(/[^\p{L}\p{M}\p{N}']/gu, ' ')
    .replace(/(?<![\p{L}\p{M}\p{N}])'+|'+(?![\p{L}\p{M}\p{N}])/gu, ' ')
    .split(/\s+/).filter((word) => word !== '')
    .map((word) => titles.get(word) ?? word);
}

/**
 * The fewest substitutions, deletions and insertions that turn `from` into `to` (Levenshtein). Of the words of a transcript and of its reference it is
 * the numerator of the word error rate; the reference's words are the denominator, so that the rate can exceed 1.
 */
export function editDistance<T>(from: readonly T[], to: readonly T[]): number {
  let above = Array.from({ length: to.length + 1 }, (_, n) => n);
  from.forEach((one, row) => {
    const here = [row + 1];
    to.forEach((other, n) => here.push(Math.min(above[n] + (one === other ? 0 : 1), above[n + 1] + 1, here[n] + 1)));
    above = here;
  });
  return above[to.length];
}
