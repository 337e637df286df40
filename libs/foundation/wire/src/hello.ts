import {
  CairnError,
  errorCodeOf,
  outlastsLease,
  printable,
  rangeText,
  storeId,
  versionMisfit,
  type VersionRange,
} from '@cairn/base';
import { ByteReader, ByteWriter } from '@cairn/codec';

import { isRelease } from './build-versions.js';
import type { Hello, HelloLife, HelloStart, Purpose } from './session-types.js';

/** First bytes of a hello: tells our own processes from anything else that connects. */
const MAGIC = 0x4e524943;

/** Longest text in a hello, characters: names are echoed in errors and in the log. */
const HELLO_TEXT_LENGTH_MAX = 128;
/** Names, ids and tokens: they are shown to people, and move no cursor. */
const HELLO_TEXT = /^[\x20-\x7e]*$/;
/** Longest list of members in a hello. */
const GROUP_LENGTH_MAX = 2_048;
/** Starts that a member shows at a time. */
const HELLO_STARTS_MAX = 64;
/** Longest sentence of a refusal; the rest is cut. */
const REFUSAL_LENGTH_MAX = 1_024;

const PURPOSES: readonly Purpose[] = ['rpc', 'kv', 'raft', 'bulk'];
const KINDS: readonly Hello['kind'][] = ['metadata', 'shard', 'router', 'tool'];

export function encodeHello(hello: Hello): Buffer {
  const writer = new ByteWriter(128);
  writer.u32(MAGIC);
  writer.varint(hello.protocols.min);
  writer.varint(hello.protocols.max);
  writer.string(hello.build);
  writer.varint(hello.clusterVersions.min);
  writer.varint(hello.clusterVersions.max);
  writer.varint(hello.clusterVersion ?? 0);
  writer.u8(PURPOSES.indexOf(hello.purpose));
  writer.u8(KINDS.indexOf(hello.kind));
  writer.string(hello.clusterId);
  writer.string(hello.name);
  writer.varint(hello.storeId);
  writer.varint(hello.timing?.leaseDurationMs ?? 0);
  writer.varint(hello.timing?.voteHoldMs ?? 0);
  if (hello.life !== undefined) {
    writer.string(hello.life.group);
    writer.string(hello.life.incarnation);
    const { start } = hello.life;
    writer.u8(start === undefined ? 0 : 1);
    if (start !== undefined) {
      writer.string(start.accepted);
      writer.varint(start.offered.length);
      for (const token of start.offered) writer.string(token);
    }
    writer.string(hello.life.process);
    writer.u64(Math.max(0, Math.floor(hello.life.unixMs)));
  }
  return writer.take();
}

/** Bytes behind the known fields are ignored: later versions may say more. Throws CORRUPTION. */
export function decodeHello(body: Uint8Array): Hello {
  const reader = new ByteReader(body);
  if (reader.u32() !== MAGIC)
    throw new CairnError('CORRUPTION', 'the first frame is not a hello of this product');
  const protocols = { min: reader.varint(), max: reader.varint() };
  const build = releaseText(reader);
  const clusterVersions = { min: reader.varint(), max: reader.varint() };
  const clusterVersion = reader.varint();
  const purpose = PURPOSES[reader.u8()];
  const kind = KINDS[reader.u8()];
  if (purpose === undefined || kind === undefined)
    throw new CairnError('CORRUPTION', 'hello of an unknown kind');
  const clusterId = shortText(reader);
  const name = shortText(reader);
  const store = storeId(reader.varint48());
  const timing = { leaseDurationMs: reader.varint(), voteHoldMs: reader.varint() };
  const known = {
    ...{ protocols, build, clusterVersions, purpose, kind, clusterId, name, storeId: store },
    ...(clusterVersion === 0 ? {} : { clusterVersion }),
    ...(timing.voteHoldMs === 0 ? {} : { timing }),
  };
  return (kind === 'metadata' || kind === 'shard') && reader.remaining > 0
    ? { ...known, life: readLife(reader) }
    : known;
}

function shortText(reader: ByteReader, lengthMax = HELLO_TEXT_LENGTH_MAX): string {
  const text = reader.string();
  if (text.length > lengthMax) {
    throw new CairnError(
      'CORRUPTION',
      `a name of ${text.length} characters ("${shown(text)}…") in a hello; the limit is ${lengthMax}`,
    );
  }
  if (HELLO_TEXT.test(text)) return text;
  throw new CairnError('CORRUPTION', `a name that nothing has ("${shown(text)}") in a hello`);
}

function releaseText(reader: ByteReader): string {
  const text = reader.string();
  if (isRelease(text)) return text;
  throw new CairnError('CORRUPTION', `a release that there is not ("${shown(text)}") in a hello`);
}

function shown(text: string): string {
  return printable(text.slice(0, 32));
}

function readLife(reader: ByteReader): HelloLife {
  return {
    group: shortText(reader, GROUP_LENGTH_MAX),
    incarnation: shortText(reader),
    start: reader.u8() === 0 ? undefined : readStart(reader),
    process: shortText(reader),
    unixMs: reader.u64(),
  };
}

function readStart(reader: ByteReader): HelloStart {
  const accepted = shortText(reader);
  const count = reader.varint();
  if (count > HELLO_STARTS_MAX) {
    throw new CairnError('CORRUPTION', `${count} starts in a hello; the limit is ${HELLO_STARTS_MAX}`);
  }
  return { accepted, offered: Array.from({ length: count }, () => shortText(reader)) };
}

export function encodeRefusal(error: CairnError): Buffer {
  const writer = new ByteWriter(128);
  writer.string(error.code);
  writer.string(error.message.slice(0, REFUSAL_LENGTH_MAX));
  return writer.take();
}

export function decodeRefusal(body: Uint8Array): CairnError {
  const reader = new ByteReader(body);
  const code = errorCodeOf(reader.string());
  return new CairnError(code, printable(reader.string(), REFUSAL_LENGTH_MAX));
}

/** Why two nodes must not talk; undefined when they may. */
export function mismatchOf(own: Hello, remote: Hello): CairnError | undefined {
  if (commonProtocol(own.protocols, remote.protocols) === undefined) {
    return new CairnError(
      'FAILED_PRECONDITION',
      `${speechOf(remote)}, ${speechOf(own)}: run releases that know each other`,
    );
  }
  if (own.clusterId !== '' && remote.clusterId !== '' && own.clusterId !== remote.clusterId) {
    return new CairnError(
      'CLUSTER_MISMATCH',
      `${remote.kind} "${remote.name}" belongs to cluster ${remote.clusterId}, ` +
        `${own.kind} "${own.name}" to cluster ${own.clusterId}`,
    );
  }
  const misfit = versionMismatch(own, remote) ?? versionMismatch(remote, own);
  if (misfit !== undefined || own.purpose !== 'raft') return misfit;
  return leaseMismatch(own, remote) ?? leaseMismatch(remote, own);
}

/** Formats that came with the version that one node knows may be in what it sends to the other. */
function versionMismatch(
  { clusterVersion = 0 }: Hello,
  { kind, name, ...other }: Hello,
): CairnError | undefined {
  return versionMisfit({ who: `${kind} "${name}"`, ...other }, clusterVersion);
}

/**
 * A leader may believe in its lease only because voters hold their votes for longer: theirs, not its own.
 * Were it otherwise, it would serve old values while another leads.
 */
function leaseMismatch(leader: Hello, voter: Hello): CairnError | undefined {
  const leaseDurationMs = leader.timing?.leaseDurationMs ?? 0;
  const voteHoldMs = voter.timing?.voteHoldMs ?? Infinity;
  if (outlastsLease(voteHoldMs, leaseDurationMs)) return undefined;
  return new CairnError(
    'FAILED_PRECONDITION',
    `${leader.kind} "${leader.name}" takes leases of ${leaseDurationMs} ms, and ${voter.kind} "${voter.name}" holds ` +
      `its vote for ${voteHoldMs} ms, which must be at least 10 % more: give all nodes the longer voteHoldMs first`,
  );
}

/** What two nodes talk: the newest protocol that both speak; undefined when there is none. */
export function commonProtocol(one: VersionRange, other: VersionRange): number | undefined {
  const newest = Math.min(one.max, other.max);
  return newest >= Math.max(one.min, other.min) ? newest : undefined;
}

function speechOf({ kind, name, build, protocols }: Hello): string {
  const noun = protocols.min === protocols.max ? 'protocol' : 'protocols';
  return `${kind} "${name}" is Cairn ${build} and speaks ${noun} ${rangeText(protocols)}`;
}
