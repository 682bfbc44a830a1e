/**
 * Images of buffers, for kernels that gather rows. lavapipe reads a buffer number by number, each with a bounds check and a branch; of an image it
 * reads four numbers at a time, checked for all lanes together, which makes a gather several times faster, copies included
 * (bench/REJECTED.md has what else was tried). SwiftShader gathers best from buffers; hardware, on which images were not tried, does so too.
 *
 * An image holds the vec4s of a buffer in order, `imageWidth` to a row. It is brought up to date when a dispatch is recorded that reads it and
 * something recorded before may have written the buffer; so recorders must be submitted in the order in which they record.
 */
import { CochleaError } from '../errors.ts';

/** Texels of a row; a shader that reads images says `IMAGE_WIDTH`. */
export const imageWidth = 1024;

export interface Image {
  readonly texture: GPUTexture;
  readonly view: GPUTextureView;
  /** Whether it may differ from its buffer. */
  stale: boolean;
}

export class Images {
  readonly #device: GPUDevice;
  readonly #made = new Map<GPUBuffer, Image>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The image of a buffer, made when it is first asked for: of tensors that say `gathered` with them, so that plans and limits of memory count it. Throws `gpu-memory` for a buffer that no image can hold. */
  of(buffer: GPUBuffer): Image {
    const known = this.#made.get(buffer);
    if (known) return known;
    const height = Math.ceil(buffer.size / 16 / imageWidth), most = this.#device.limits.maxTextureDimension2D;
    if (height > most) throw new CochleaError('gpu-memory', `${buffer.label} needs an image of ${height} rows; this adapter has at most ${most}`);
    const texture = this.#device.createTexture({
      label: `image of ${buffer.label}`, size: [imageWidth, height], format: 'rgba32float', usage: GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST,
    });
    const image = { texture, view: texture.createView(), stale: true };
    this.#made.set(buffer, image);
    return image;
  }

  /** Told of every buffer that something recorded now writes. */
  written(buffer: GPUBuffer): void {
    const image = this.#made.get(buffer);
    if (image) image.stale = true;
  }

  /** Frees the image of a buffer, if there is one. */
  free(buffer: GPUBuffer): void {
    this.#made.get(buffer)?.texture.destroy();
    this.#made.delete(buffer);
  }
}

/** Records copying a whole buffer of vec4s into its image. */
export function copyToImage(encoder: GPUCommandEncoder, buffer: GPUBuffer, { texture }: Image): void {
  const texels = Math.floor(buffer.size / 16), bytesPerRow = 16 * imageWidth;
  const whole = Math.floor(texels / imageWidth), rest = texels % imageWidth;
  if (whole > 0) encoder.copyBufferToTexture({ buffer, bytesPerRow, rowsPerImage: whole }, { texture }, [imageWidth, whole]);
  if (rest > 0) encoder.copyBufferToTexture({ buffer, offset: whole * bytesPerRow, bytesPerRow, rowsPerImage: 1 }, { texture, origin: [0, whole] }, [rest, 1]);
}

/** Bytes of the image of a buffer of so many. */
export function imageBytes(bytes: number): number {
  return Math.ceil(bytes / 16 / imageWidth) * imageWidth * 16;
}
