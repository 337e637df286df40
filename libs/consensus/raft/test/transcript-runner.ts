import { assert, type LogIndex, type ReplicaId, type Term } from '@cairn/base';

import { defaultRaftConfig, EntryKind } from '../src/index.js';
import type { ConfigOperation, ConfigState, Message, RaftConfig, Ready } from '../src/index.js';
import { TestCluster, type LogStart, type TestReplica } from '../src/testing/index.js';

const OUTPUT_PREFIX = '  ';

export interface TranscriptResult {
  /** The transcript with the output lines as they are now. */
  readonly text: string;
  /** How the replicas stand at the end, for whoever looks for the cause of a difference. */
  readonly replicas: string;
}

/** Runs the commands of a transcript. */
export function runTranscript(text: string): TranscriptResult {
  const runner = new Runner();
  const result: string[] = [];
  for (const line of text.trimEnd().split('\n')) {
    if (line.startsWith(OUTPUT_PREFIX)) continue;
    result.push(line);
    if (line !== '' && !line.startsWith('#')) {
      for (const output of runner.run(line.trim())) result.push(OUTPUT_PREFIX + output);
    }
  }
  return { text: `${result.join('\n')}\n`, replicas: runner.replicas };
}

function describe(message: Message): string {
  const head = `${message.from}->${message.to} ${message.type} t${message.term}`;
  switch (message.type) {
    case 'pre-vote':
    case 'vote':
      return `${head} last=${message.lastIndex}/t${message.lastTerm}${message.transfer ? ' transfer' : ''}`;
    case 'pre-vote-response':
    case 'vote-response':
      return `${head} ${message.granted ? 'granted' : 'rejected'}`;
    case 'append': {
      const entries = message.entries.map((entry) => `${entry.index}/t${entry.term}`).join(',');
      return (
        `${head} after=${message.previousIndex}/t${message.previousTerm} ` +
        `commit=${message.commit} [${entries}]`
      );
    }
    case 'append-response':
      return message.rejected
        ? `${head} rejected ${message.index} hint=${message.hintIndex}/t${message.hintTerm}`
        : `${head} match=${message.index}`;
    case 'heartbeat':
      return `${head} commit=${message.commit} round=${message.readContext}`;
    case 'heartbeat-response':
      return `${head} round=${message.readContext}`;
    case 'snapshot':
      return (
        `${head} ${message.meta.index}/t${message.meta.term} ` + `voters=${message.meta.config.voters.join()}`
      );
    case 'timeout-now':
      return head;
    case 'read-index':
      return head;
    case 'read-index-response':
      return `${head} ${message.refused ? 'refused' : `index=${message.index}`}`;
  }
}

/** `10/5`: the log begins behind index 10 of term 5. */
function startOf(word: string): LogStart {
  const [index, term] = word.split('/').map(Number);
  return { index: index as LogIndex, term: term as Term };
}

class Runner {
  #seed = 1;
  readonly #config: Record<string, number> = {};
  readonly #cluster = new TestCluster({ random: () => this.#random(), config: this.#config });
  #lines: string[] = [];
  #isSilent = false;
  readonly #cut = new Set<string>();
  /** Messages that arrive late, or twice. */
  readonly #withheld: Message[] = [];

  constructor() {
    this.#cluster.onReady = (replica, ready) => {
      this.#logReady(replica, ready);
    };
  }

  get replicas(): string {
    return [...this.#cluster.replicas.values()].map(({ node }) => String(node)).join('\n');
  }

  /** Jitter differs from replica to replica, and is the same in every run. */
  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    return this.#seed / 2 ** 32;
  }

  run(command: string): string[] {
    this.#lines = [];
    const [verb = '', ...words] = command.split(/\s+/);
    try {
      this.#execute(verb, words);
    } catch (error) {
      this.#lines.push(`! ${String(error)}`);
    }
    return this.#lines;
  }

  #logReady({ id }: TestReplica, ready: Ready): void {
    const log = (text: string): void => {
      if (!this.#isSilent) this.#lines.push(`${id} ${text}`);
    };
    if (ready.state !== undefined) {
      log(`is ${ready.state.role} t${ready.state.term} leader=${ready.state.leaderId}`);
    }
    if (ready.entries.length > 0)
      log(`appends ${ready.entries.map((one) => `${one.index}/t${one.term}`).join()}`);
    if (ready.snapshot !== undefined)
      log(`installs snapshot ${ready.snapshot.index}/t${ready.snapshot.term}`);
    if (ready.committed.length > 0)
      log(`applies ${ready.committed.map((one) => `${one.index}/t${one.term}`).join()}`);
    for (const load of ready.loads) log(`loads from ${load.from} for ${load.to}`);
    for (const read of ready.reads) {
      log(read.refused ? `read ${read.context} refused` : `read ${read.context} at ${read.index}`);
    }
  }

  #isCut = (message: Message): boolean => {
    const isLost =
      this.#cut.has(`${message.from}>${message.to}`) ||
      this.#cut.has(`${message.from}>*`) ||
      this.#cut.has(`*>${message.to}`) ||
      this.#cut.has(message.type);
    if (!this.#isSilent) this.#lines.push(`${isLost ? 'x' : '.'} ${describe(message)}`);
    return isLost;
  };

  #execute(verb: string, words: string[]): void {
    const cluster = this.#cluster;
    const at = (position: number): number => Number(words[position]);
    const replica = (): TestReplica => cluster.get(at(0));
    switch (verb) {
      case 'set':
        this.#set(words);
        return;
      case 'nodes':
        this.#addNodes(at(0), words.slice(1));
        return;
      case 'lead':
        this.#lead(replica());
        return;
      case 'join':
        cluster.add(at(0), cluster.get(at(1)).appliedConfig).appliedIndex = 0 as LogIndex;
        return;
      case 'campaign':
        replica().node.campaign(cluster.nowOf(replica()));
        return;
      case 'store-lost':
        replica().node.leaderStoreLost(cluster.nowOf(replica()));
        return;
      case 'propose':
        for (let count = 0; count < (words[1] === undefined ? 1 : at(1)); count += 1) {
          this.#print(replica().node.propose(new Uint8Array(words[2] === undefined ? 1 : at(2))));
        }
        return;
      case 'change':
        this.#change(replica(), words.slice(1));
        return;
      case 'transfer':
        this.#print(replica().node.transferLeader(at(1) as ReplicaId));
        return;
      case 'read':
        this.#lines.push(replica().node.readIndex(at(1)) ? 'accepted' : 'refused');
        return;
      case 'drop-lease':
        replica().node.dropLease(cluster.nowOf(replica()));
        return;
      case 'lease':
        this.#lines.push(replica().node.hasLease(cluster.nowOf(replica())) ? 'held' : 'none');
        return;
      default:
        this.#executeEnvironment(verb, words);
    }
  }

  #executeEnvironment(verb: string, words: string[]): void {
    const cluster = this.#cluster;
    const at = (position: number): number => Number(words[position]);
    switch (verb) {
      case 'stabilize':
        cluster.stabilize(this.#isCut);
        return;
      case 'process':
        while (cluster.process(cluster.get(at(0))));
        return;
      case 'sync':
        cluster.sync(cluster.get(at(0)));
        return;
      case 'advance':
        cluster.advance(at(0), this.#isCut);
        return;
      case 'tick':
        cluster.advance(at(0));
        return;
      case 'pause':
        cluster.nowMs += at(0);
        return;
      case 'deliver':
        this.#deliver(words);
        return;
      case 'drop':
        this.#take(words);
        return;
      case 'withhold':
        this.#withheld.push(...this.#take(words));
        return;
      case 'duplicate':
        this.#withheld.push(...cluster.network.filter((message) => this.#matches(message, words)));
        return;
      case 'release':
        cluster.network.push(...this.#withheld.splice(0));
        return;
      case 'network':
        for (const message of cluster.network) this.#lines.push(`- ${describe(message)}`);
        return;
      case 'inject':
        this.#inject(words);
        return;
      case 'cut':
        for (const word of words) this.#cut.add(word);
        return;
      case 'heal':
        this.#cut.clear();
        return;
      case 'crash':
        cluster.crash(at(0));
        if (words[1] === 'applied') cluster.forgetApplied(at(0), at(2) as LogIndex);
        return;
      case 'restart':
        cluster.restart(at(0));
        return;
      case 'compact':
        cluster.get(at(0)).storage.compact(at(1) as LogIndex);
        return;
      case 'evict':
        cluster.get(at(0)).storage.loadingBelow = at(1);
        return;
      case 'loaded':
        cluster.get(at(0)).storage.loadingBelow = 0;
        cluster.get(at(0)).node.entriesLoaded(at(1) as ReplicaId);
        return;
      case 'status':
        this.#status();
        return;
      default:
        this.#executeHost(verb, words);
    }
  }

  /** What the process around a replica does. */
  #executeHost(verb: string, words: string[]): void {
    const cluster = this.#cluster;
    const replica = (): TestReplica => cluster.get(Number(words[0]));
    switch (verb) {
      case 'log':
        this.#isSilent = words[0] === 'off';
        return;
      case 'clock':
        cluster.setClockRate(replica(), Number(words[1]));
        return;
      case 'stop':
        replica().isPaused = true;
        return;
      case 'continue':
        cluster.resume(replica());
        return;
      case 'hold-apply':
        replica().isApplyHeld = true;
        return;
      case 'release-apply':
        cluster.releaseApply(replica());
        return;
      case 'refuse-snapshots':
        replica().refusesSnapshots = true;
        return;
      case 'support':
        this.#lines.push(cluster.support(this.#leader(), replica()) ? 'supported' : 'refused');
        return;
      case 'withdraw':
        cluster.withdraw(this.#leader(), replica());
        return;
      case 'beat':
        cluster.beat(this.#leader(), replica());
        return;
      case 'notice':
        this.#notice(replica());
        return;
      case 'quiescent':
        this.#lines.push(replica().node.isQuiescent ? 'quiescent' : 'needs ticks');
        return;
      case 'give':
        replica().refusesSnapshots = false;
        cluster.give(Number(words[0]), cluster.get(Number(words[2])).appliedConfig, startOf(words[1] ?? ''));
        return;
      default:
        assert(false, 'unknown command', { verb });
    }
  }

  #leader(): TestReplica {
    const leader = this.#cluster.leader();
    assert(leader !== undefined, 'nobody leads');
    return leader;
  }

  /** The leader's store tells a member what is committed. */
  #notice(member: TestReplica): void {
    const leader = this.#leader().node;
    const commit = leader.takeCommitNotice(member.id);
    this.#lines.push(commit === 0 ? 'nothing to tell' : `commit=${commit}`);
    if (commit > 0) member.node.learnCommit(leader.term, commit, this.#cluster.nowOf(member));
  }

  /** Settings of the replicas that are added afterwards. */
  #set(words: string[]): void {
    const known: Readonly<Record<keyof RaftConfig, number>> = defaultRaftConfig(1 as ReplicaId);
    for (const word of words) {
      const [name = '', value] = word.split('=');
      assert(name in known, 'no such setting', { name });
      this.#config[name] = Number(value);
    }
  }

  /** Makes a replica leader without telling how; what is cut stays cut. */
  #lead(replica: TestReplica): void {
    const wasSilent = this.#isSilent;
    this.#isSilent = true;
    replica.node.campaign(this.#cluster.nowOf(replica));
    this.#cluster.stabilize(this.#isCut);
    this.#isSilent = wasSilent;
    this.#lines.push(`${replica.id} is ${replica.node.role} t${replica.node.term}`);
  }

  /** `at 10/5`: the group was created there; `uninitialised 3`: replica 3 has not got that state yet. */
  #addNodes(count: number, [at, where = '', uninitialised, uninitialisedId]: string[]): void {
    assert(at === undefined || at === 'at', 'unknown word', { word: at });
    assert(uninitialised === undefined || uninitialised === 'uninitialised', 'unknown word', {
      word: uninitialised,
    });
    const voters = Array.from({ length: count }, (_, index) => (index + 1) as ReplicaId);
    const config: ConfigState = { voters, outgoing: [], learners: [], learnersNext: [] };
    const start = at === undefined ? undefined : startOf(where);
    for (const id of voters) {
      if (id === Number(uninitialisedId)) this.#cluster.add(id);
      else this.#cluster.add(id, config, start);
    }
  }

  #change(replica: TestReplica, words: string[]): void {
    const types: Record<string, ConfigOperation['type']> = { v: 'add-voter', l: 'add-learner', r: 'remove' };
    const operations = words.map((word) => {
      const type = types[word.charAt(0)];
      assert(type !== undefined, 'unknown operation', { word });
      return { type, replicaId: Number(word.slice(1)) as ReplicaId };
    });
    this.#print(
      replica.node.proposeConfigChange({ operations, leaveJoint: false, context: new Uint8Array(0) }),
    );
  }

  /** Target, and maybe type and sender. */
  #matches(message: Message, [target, type = message.type, from]: string[]): boolean {
    const isFrom = from === undefined || message.from === Number(from);
    return message.to === Number(target) && message.type === type && isFrom;
  }

  #take(words: string[]): Message[] {
    const taken = this.#cluster.network.filter((message) => this.#matches(message, words));
    this.#cluster.network = this.#cluster.network.filter((message) => !taken.includes(message));
    return taken;
  }

  #deliver(words: string[]): void {
    for (const message of this.#take(words)) {
      this.#lines.push(`. ${describe(message)}`);
      this.#cluster.deliver(message);
    }
  }

  /** An append that a leader might have sent: `from to term after/term commit [index/term ...]`. */
  #inject([from, to, term, after = '', commit, ...entries]: string[]): void {
    const previous = startOf(after);
    const message: Message = {
      type: 'append',
      from: Number(from) as ReplicaId,
      to: Number(to) as ReplicaId,
      term: Number(term) as Term,
      previousIndex: previous.index,
      previousTerm: previous.term,
      commit: Number(commit) as LogIndex,
      entries: entries.map((word) => ({
        ...startOf(word),
        kind: EntryKind.command,
        payload: new Uint8Array(1),
      })),
      sentAtMs: Math.floor(this.#cluster.nowMs),
    };
    this.#lines.push(`. ${describe(message)}`);
    this.#cluster.deliver(message);
  }

  #print(result: { type: string; reason?: string; index?: number }): void {
    this.#lines.push(
      result.reason ?? (result.index === undefined ? result.type : `${result.type} ${result.index}`),
    );
  }

  #status(): void {
    for (const { id, node, isDown } of this.#cluster.replicas.values()) {
      const { role, term, vote, commitIndex, appliedIndex, lastIndex, durableIndex, config, peers } =
        node.status();
      const members = `v=${config.voters.join()} o=${config.outgoing.join()} l=${config.learners.join()}`;
      const facts =
        `vote=${vote} commit=${commitIndex} applied=${appliedIndex} ` +
        `last=${lastIndex} durable=${durableIndex}`;
      this.#lines.push(`${id} ${isDown ? 'down' : role} t${term} ${facts} ${members}`);
      for (const peer of peers) {
        this.#lines.push(`    ${peer.replicaId}: ${peer.state} match=${peer.match} next=${peer.next}`);
      }
    }
  }
}
