/** Run by unpack.test.ts, several at a time: unpacks the software adapter and prints its driver file. */
import { unpackSoftwareAdapter } from '../../src/runtime/adapters.ts';

const adapter = await unpackSoftwareAdapter();
console.log('driver' in adapter ? adapter.driver : adapter.reason);
