/**
 * Two linear layers in one torch file: qresearch's DeepSeek R1 (encoder, decoder) and Goodfire's Llama 3 (encoder_linear, decoder_linear). With
 * the weights W [d_sae, d_in] and D [d_in, d_sae] and their biases f = relu(W x + b), out = D f + c. The number after `l` at the end of the name
 * is the layer.
 */
import { configOf, type Loader } from '../loader.ts';
import { type Tensors, withTensors } from '../tensors.ts';
import { torchFile } from './openai.ts';

const layouts = ['', '_linear'].map((suffix) => ({
  weight: `encoder${suffix}.weight`, bias: `encoder${suffix}.bias`, decoder: `decoder${suffix}.weight`, output: `decoder${suffix}.bias`,
}));
const layoutOf = (tensors: Tensors) => layouts.find((layout) => Object.values(layout).every((name) => tensors.has(name)));

export const linearLayers: Loader = {
  name: 'linear-layers',
  title: 'two linear layers in one .pt file (DeepSeek R1 of qresearch, Goodfire)',
  files: (path) => ({ needed: [path], optional: [] }),
  async detect(files) {
    const name = torchFile(files);
    return name !== undefined && withTensors(files, name, async (tensors) => layoutOf(tensors) !== undefined);
  },
  read(files) {
    const name = torchFile(files) ?? '*.pt';
    return withTensors(files, name, async (tensors) => {
      const { weight, bias, decoder, output } = layoutOf(tensors) ?? layouts[0]!;
      tensors.only([weight, bias, decoder, output]);
      const [dSae, dIn] = tensors.matrixShape(weight);
      const layer = /(?:^|[^a-z])l(\d+)\.pth?$/i.exec(name)?.[1];
      return {
        config: configOf({
          architecture: 'standard', dIn, dSae, dtype: tensors.dtype(weight), applyBDec: false,
          metadata: { hook_name: layer === undefined ? undefined : `blocks.${layer}.hook_resid_post` },
        }),
        weights: {
          W_enc: await tensors.matrix(weight, dSae, dIn), b_enc: await tensors.vector(bias, dSae),
          W_dec: await tensors.transposed(decoder, dIn, dSae), b_dec: await tensors.vector(output, dIn),
        },
        notes: [],
      };
    });
  },
};
