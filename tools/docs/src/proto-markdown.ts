/** A declaration of a protocol file with the comment above it. */
interface Block {
  readonly kind: 'service' | 'message' | 'enum';
  readonly name: string;
  /** Its paragraphs. */
  readonly comment: readonly string[];
  readonly members: readonly Member[];
}

interface Member {
  readonly text: string;
  readonly comment: readonly string[];
}

const HEADER = /^(service|message|enum) (\w+) \{(\})?$/;

/** Reads the top-level blocks; members may sit in a `oneof`, which is told in their text. */
function parseBlocks(source: string): Block[] {
  const blocks: Block[] = [];
  let comment: string[] = [];
  let open: { kind: Block['kind']; name: string; comment: string[]; members: Member[] } | undefined;
  let oneof = '';
  const takeComment = (): string[] => {
    const taken = comment.filter((paragraph) => paragraph !== '');
    comment = [];
    return taken;
  };
  for (const raw of source.split('\n')) {
    const line = raw.trim();
    const header = HEADER.exec(line);
    if (line.startsWith('//')) {
      const text = line.slice(2).trim();
      // A line without words ends a paragraph.
      if (text === '' || comment.length === 0) comment.push(text);
      else comment.push(`${comment.pop() ?? ''} ${text}`.trim());
    } else if (line === '') comment = [];
    else if (header !== null && open === undefined) {
      open = { kind: header[1] as Block['kind'], name: header[2] ?? '', comment: takeComment(), members: [] };
      if (header[3] !== undefined) {
        blocks.push(open);
        open = undefined;
      }
    } else if (open !== undefined && line.startsWith('oneof ')) {
      oneof = line.split(' ')[1] ?? '';
      comment = [];
    } else if (line === '}') {
      if (oneof !== '') oneof = '';
      else if (open !== undefined) {
        blocks.push(open);
        open = undefined;
      }
    } else if (open !== undefined && line.endsWith(';')) {
      const text = line.slice(0, -1).replace(/^rpc /, '');
      open.members.push({ text: oneof === '' ? text : `${text} (one of ${oneof})`, comment: takeComment() });
    } else if (open !== undefined) {
      throw new Error(`cannot read this line of a protocol file: ${line}`);
    } else comment = [];
  }
  return blocks;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

function blockMarkdown(block: Block): string[] {
  const label = { service: 'call', message: 'field', enum: 'value' }[block.kind];
  const lines = [`### ${block.name}`, ''];
  for (const paragraph of block.comment) lines.push(paragraph, '');
  if (block.members.length === 0) return [...lines, block.kind === 'message' ? 'No fields.' : 'Empty.', ''];
  lines.push(`| ${label} | meaning |`, '| --- | --- |');
  for (const member of block.members)
    lines.push(`| \`${cell(member.text)}\` | ${cell(member.comment.join('<br>'))} |`);
  return [...lines, ''];
}

/**
 * One protocol file as a section: services first, then messages, then enums, each in the order of the file.
 */
export function protoMarkdown(title: string, source: string): string {
  const blocks = parseBlocks(source);
  const ordered = (['service', 'message', 'enum'] as const).flatMap((kind) =>
    blocks.filter((block) => block.kind === kind),
  );
  return [`## ${title}`, '', ...ordered.flatMap(blockMarkdown)].join('\n');
}
