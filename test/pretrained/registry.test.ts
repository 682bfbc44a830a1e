/** The registry of releases: every entry leads somewhere, and what is known from SAELens' own is here as it is there. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CochleaError } from '../../src/errors.ts';
import { loaders, releases, resolveSae } from '../../src/pretrained/index.ts';
import { isInside } from '../../src/pretrained/files.ts';

/** The first and the last id of a pattern. */
const ends = (pattern: string): string[] => [0, -1].map((end) => pattern.replace(/\{\w+(?::([^}]*))?\}/g, (_, range: string | undefined) => (range ?? '7').split(/[-|]/).at(end)!));

describe('the registry', () => {
  test('resolves the ends of all its patterns to files below a repository, with nothing left open', () => {
    assert.ok(Object.keys(releases).length >= 79);
    for (const [name, release] of Object.entries(releases)) {
      assert.ok(loaders.some((loader) => loader.name === release.loader), name);
      for (const pattern of release.ids) {
        for (const id of ends(pattern.id)) {
          if (release.repo === null) {
            assert.throws(() => resolveSae(name, id), /the repository of .* is not known here/);
            continue;
          }
          const { repo, path, files, options } = resolveSae(name, id)!;
          assert.match(repo, /^[\w.-]+\/[\w.-]+$/);
          for (const file of [path, ...files.needed, ...files.optional]) assert.ok(isInside(file) && !/[{}]|undefined|NaN/.test(file), `${name} ${id}: ${file}`);
          assert.ok(!/[{}]|undefined|NaN/.test(String(options.metadata!['hook_name'] ?? '')), `${name} ${id}`);
        }
      }
    }
  });

  test('knows where SAEs lie', () => {
    const where = (release: string, id: string): unknown[] => {
      const { repo, path, options } = resolveSae(release, id)!;
      return [repo, path, options.metadata!['hook_name'], options.scale];
    };
    assert.deepEqual(where('gemma-scope-2b-pt-res-canonical', 'layer_12/width_16k/canonical'), ['google/gemma-scope-2b-pt-res', 'layer_12/width_16k/average_l0_82', 'blocks.12.hook_resid_post', undefined]);
    assert.deepEqual(where('gemma-scope-2b-pt-res', 'embedding/width_4k/average_l0_6'), ['google/gemma-scope-2b-pt-res', 'embedding/width_4k/average_l0_6', 'hook_embed', undefined]);
    assert.deepEqual(where('gemma-scope-9b-pt-att', 'layer_0/width_16k/average_l0_12'), ['google/gemma-scope-9b-pt-att', 'layer_0/width_16k/average_l0_12', 'blocks.0.attn.hook_z', undefined]);
    assert.deepEqual(where('gemma-2b-res-jb', 'blocks.12.hook_resid_post').slice(1), ['gemma_2b_blocks.12.hook_resid_post_16384', 'blocks.12.hook_resid_post', 0.21381938399317255]);
    assert.deepEqual(where('gpt2-small-mlp-tm', 'blocks.11.hook_mlp_out').slice(1), ['sae_group_gpt2_blocks.11.hook_mlp_out_24576:v2', 'blocks.11.hook_mlp_out', 0.2851548652550073]);
    assert.deepEqual(where('llama_scope_lxr_8x', 'l15r_8x').slice(0, 2), ['fnlp/Llama3_1-8B-Base-LXR-8x', 'Llama3_1-8B-Base-L15R-8x']);
    assert.deepEqual(where('llama_scope_r1_distill', 'l31r_800m_slimpajama').slice(1), ['800M-Slimpajama-0-OpenR1-Math-220k/L31R', undefined, 1.0963025732622191]);
    // AudioSAE counts layers from 1.
    assert.deepEqual(where('audiosae-whisper-small', 'layer_12'), ['Egorgij21/Audio-SAE-Whisper-small', 'layer_12', 'encoder.layers.11', undefined]);
    assert.deepEqual(resolveSae('mistral-7b-res-wg', 'blocks.8.hook_resid_pre')!.options.overrides, { normalize_activations: 'constant_norm_rescale' });
    assert.deepEqual(resolveSae('mntss-gemma-2-2b-2.5m-clt-as-per-layer', 'layer_3')!.files, { needed: ['W_enc_3.safetensors', 'W_dec_3.safetensors'], optional: ['config.yaml'] });
  });

  test('says no to what it does not have', () => {
    const refused = (release: string, id: string | undefined, message: RegExp): void => assert.throws(() => resolveSae(release, id), (error: unknown) => error instanceof CochleaError && message.test(error.line));
    refused('audiosae-whisper-small', 'layer_13', /has no SAE "layer_13": its ids: layer_\{layer:1-12\}/);
    refused('audiosae-whisper-small', 'layer_01', /has no SAE/);
    refused('gpt2-small-res-jb', undefined, /has more than one SAE/);
    refused('gpt2-small-res-jb', '../blocks.0.hook_resid_pre', /has no SAE/);
    refused('gemma-scope-2b-pt-res', 'layer_1/width_16k/average_l0_1/../../..', /has no SAE/);
    for (const name of ['constructor', '__proto__', 'google/gemma-scope-2b-pt-res', 'nothing']) assert.equal(resolveSae(name, 'x'), undefined);
  });
});
