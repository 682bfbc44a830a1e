/** One record of a CSV file. */
interface CsvRecord {
  /** The line it begins on, counted from 1. */
  line: number;
  /** Undefined when the quotes of the record do not pair up. */
  fields: string[] | undefined;
}

/**
 * Reads CSV by the grammar of RFC 4180: fields in double quotes may hold separators, line ends and doubled quotes.
 * Lines may end in CRLF, LF or CR; a byte order mark and empty lines are skipped. After a record that breaks the
 * grammar the reading goes on at the next line.
 */
export function readCsv(text: string, separator: ',' | '\t'): CsvRecord[] {
  const quoted = '"([^"]*(?:""[^"]*)*)"';
  const plain = `([^"${separator}\\r\\n][^${separator}\\r\\n]*)?`;
  const token = new RegExp(`(?:${quoted}|${plain})(${separator}|\\r\\n|\\n|\\r|$)`, 'y');
  const records: CsvRecord[] = [];
  let line = 1;
  let at = text.startsWith('\ufeff') ? 1 : 0;
  while (at < text.length) {
    const begin = at;
    let fields: string[] | undefined = [];
    let end: string | undefined = separator;
    while (fields && end === separator) {
      token.lastIndex = at;
      const match = token.exec(text);
      if (match) {
        fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
        end = match[3];
        at = token.lastIndex;
      } else {
        fields = undefined;
        const next = /[\r\n]+/g;
        next.lastIndex = at;
        at = next.test(text) ? next.lastIndex : text.length;
      }
    }
    if (fields?.length !== 1 || fields[0] !== '') records.push({ line, fields });
    line += text.slice(begin, at).match(/\r\n|\n|\r/g)?.length ?? 0;
  }
  return records;
}
