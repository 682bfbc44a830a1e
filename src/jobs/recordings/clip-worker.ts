/** A thread that encodes clips: clip-encoder.ts starts it, has it open a model, and gives it one clip at a time. */
import { spectrogram, whisperFeatures } from '../../audio/index.ts';
import { type MultiEncoder, startEncoder } from '../../encoders/index.ts';
import { runtime } from '../../runtime/index.ts';
import type { ClipRequest, OpenAnswer } from './clip-encoder.ts';
import { framesOfClip } from './clip-frames.ts';

let encoder: MultiEncoder | undefined;

runtime.answerRequests(async (content) => {
  const request = content as ClipRequest;
  if (request.kind === 'open') {
    encoder = await startEncoder(request.prepared, { features: whisperFeatures, spectrogram, threads: request.threads });
    const { hooks, sampleRate, frameRate } = encoder;
    return { content: { hooks, sampleRate, frameRate } satisfies OpenAnswer };
  }
  const made = await framesOfClip(encoder!, request.clip, request.window);
  const buffers = [made.frames, made.target].flatMap((values) => (values ? [values.buffer as ArrayBuffer] : []));
  return { content: made, transfer: [...new Set(buffers)] }; // both hooks may be the same tensor
});
