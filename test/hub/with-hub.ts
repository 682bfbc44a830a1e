import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { HubServer } from './hub-server.ts';

export interface HubTest {
  server: HubServer;
  /** Holds all that the Hub's libraries keep. */
  home: string;
  /** Pauses that were asked for, in seconds; none is made. */
  pauses: number[];
  wait: (milliseconds: number) => Promise<void>;
  notices: string[];
  onNotice: (line: string) => void;
}

const ours = ['HF_ENDPOINT', 'HF_HOME', 'HF_TOKEN', 'HF_TOKEN_PATH', 'HF_HUB_CACHE', 'HF_HUB_OFFLINE', 'HF_HUB_DOWNLOAD_TIMEOUT', 'HUGGINGFACE_HUB_CACHE', 'HUGGING_FACE_HUB_TOKEN'];

/** Runs a test against a Hub of its own, with an empty cache and the environment that points to both; `environment` on top. */
export async function withHub(environment: Record<string, string>, work: (hub: HubTest) => Promise<void>): Promise<void> {
  const before = Object.fromEntries(ours.map((name) => [name, process.env[name]]));
  const server = await new HubServer().start();
  const home = await mkdtemp(join(tmpdir(), 'cochlea-hub-'));
  for (const name of ours) delete process.env[name];
  Object.assign(process.env, { HF_ENDPOINT: server.endpoint, HF_HOME: home, ...environment });
  const pauses: number[] = [], notices: string[] = [];
  try {
    await work({
      server, home, pauses, notices,
      wait: async (milliseconds) => void pauses.push(milliseconds / 1000),
      onNotice: (line) => void notices.push(line),
    });
  } finally {
    for (const name of ours) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
    await server.close();
    await rm(home, { recursive: true, force: true });
  }
}
