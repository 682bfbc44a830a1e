/** Gemma Scope (Lieberum et al. 2024), with the SAE of each layer whose L0 is closest to 100 (`canonical`) as SAELens' registry has them. */
import type { Release } from './registry.ts';

export const gemmaScopeReleases: Readonly<Record<string, Release>> = {
  'gemma-scope-27b-pt-res': {
    repo: 'google/gemma-scope-27b-pt-res', model: 'gemma-2-27b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 4608, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'layer_{layer:10|22|34}/width_{width:131k}/average_l0_{l0}' },
    ],
  },
  'gemma-scope-27b-pt-res-canonical': {
    repo: 'google/gemma-scope-27b-pt-res', model: 'gemma-2-27b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 4608, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'layer_{layer:10|22|34}/width_131k/canonical', path: 'layer_{layer}/width_131k/average_l0_{l0}', l0: { 10: 106, 22: 82, 34: 72 } },
    ],
  },
  'gemma-scope-2b-pt-att': {
    repo: 'google/gemma-scope-2b-pt-att', model: 'gemma-2-2b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 2048, hook: 'blocks.{layer}.attn.hook_z', ids: [
      { id: 'layer_{layer:0-25}/width_{width:16k|65k}/average_l0_{l0}' },
    ],
  },
  'gemma-scope-2b-pt-att-canonical': {
    repo: 'google/gemma-scope-2b-pt-att', model: 'gemma-2-2b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 2048, hook: 'blocks.{layer}.attn.hook_z', ids: [
      { id: 'layer_{layer:0-25}/width_16k/canonical', path: 'layer_{layer}/width_16k/average_l0_{l0}', l0: [104, 79, 93, 117, 116, 135, 61, 99, 129, 127, 70, 80, 85, 92, 71, 98, 71, 79, 72, 122, 62, 65, 106, 73, 96, 77] },
      { id: 'layer_{layer:0-25}/width_65k/canonical', path: 'layer_{layer}/width_65k/average_l0_{l0}', l0: [75, 98, 125, 83, 87, 99, 112, 96, 112, 107, 67, 75, 79, 87, 66, 90, 129, 70, 123, 106, 102, 118, 112, 140, 77, 63] },
    ],
  },
  'gemma-scope-2b-pt-mlp': {
    repo: 'google/gemma-scope-2b-pt-mlp', model: 'gemma-2-2b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 2304, hook: 'blocks.{layer}.hook_mlp_out', ids: [
      { id: 'layer_{layer:0-25}/width_{width:16k|65k}/average_l0_{l0}' },
    ],
  },
  'gemma-scope-2b-pt-mlp-canonical': {
    repo: 'google/gemma-scope-2b-pt-mlp', model: 'gemma-2-2b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 2304, hook: 'blocks.{layer}.hook_mlp_out', ids: [
      { id: 'layer_{layer:0-25}/width_16k/canonical', path: 'layer_{layer}/width_16k/average_l0_{l0}', l0: [119, 105, 95, 95, 85, 114, 133, 60, 136, 88, 110, 98, 108, 112, 97, 80, 72, 68, 106, 109, 109, 113, 121, 128, 73, 126] },
      { id: 'layer_{layer:0-25}/width_65k/canonical', path: 'layer_{layer}/width_65k/average_l0_{l0}', l0: [72, 127, 134, 68, 66, 86, 101, 115, 110, 77, 95, 88, 96, 98, 89, 72, 66, 136, 88, 88, 88, 86, 92, 102, 128, 107] },
    ],
  },
  'gemma-scope-2b-pt-res': {
    repo: 'google/gemma-scope-2b-pt-res', model: 'gemma-2-2b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 2304, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'layer_{layer:0-25}/width_{width:16k|65k}/average_l0_{l0}' },
      { id: 'layer_{layer:5|12|19}/width_{width:1m}/average_l0_{l0}' },
      { id: 'layer_{layer:12}/width_{width:262k|32k|524k|131k}/average_l0_{l0}' },
      { id: 'embedding/width_4k/average_l0_{l0:6|21|44|111}', hook: 'hook_embed' },
    ],
  },
  'gemma-scope-2b-pt-res-canonical': {
    repo: 'google/gemma-scope-2b-pt-res', model: 'gemma-2-2b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 2304, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'layer_{layer:0-25}/width_16k/canonical', path: 'layer_{layer}/width_16k/average_l0_{l0}', l0: [105, 102, 141, 59, 124, 68, 70, 69, 71, 73, 77, 80, 82, 84, 84, 78, 78, 77, 74, 73, 71, 70, 72, 75, 73, 116] },
      { id: 'layer_{layer:5|12|19}/width_1m/canonical', path: 'layer_{layer}/width_1m/average_l0_{l0}', l0: { 5: 114, 12: 107, 19: 88 } },
      { id: 'layer_{layer:12}/width_262k/canonical', path: 'layer_{layer}/width_262k/average_l0_{l0}', l0: { 12: 121 } },
      { id: 'layer_{layer:12}/width_32k/canonical', path: 'layer_{layer}/width_32k/average_l0_{l0}', l0: { 12: 76 } },
      { id: 'layer_{layer:12}/width_524k/canonical', path: 'layer_{layer}/width_524k/average_l0_{l0}', l0: { 12: 115 } },
      { id: 'layer_{layer:0-25}/width_65k/canonical', path: 'layer_{layer}/width_65k/average_l0_{l0}', l0: [73, 121, 77, 89, 89, 105, 107, 107, 111, 118, 128, 70, 72, 75, 73, 127, 128, 125, 116, 115, 114, 111, 116, 123, 124, 93] },
    ],
  },
  'gemma-scope-9b-it-res': {
    repo: 'google/gemma-scope-9b-it-res', model: 'gemma-2-9b-it', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 3584, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'layer_{layer:9|20|31}/width_{width:131k|16k}/average_l0_{l0}' },
    ],
  },
  'gemma-scope-9b-it-res-canonical': {
    repo: 'google/gemma-scope-9b-it-res', model: 'gemma-2-9b-it', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 3584, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'layer_{layer:9|20|31}/width_16k/canonical', path: 'layer_{layer}/width_16k/average_l0_{l0}', l0: { 9: 88, 20: 91, 31: 76 } },
      { id: 'layer_{layer:9|20|31}/width_131k/canonical', path: 'layer_{layer}/width_131k/average_l0_{l0}', l0: { 9: 121, 20: 81, 31: 109 } },
    ],
  },
  'gemma-scope-9b-pt-att': {
    repo: 'google/gemma-scope-9b-pt-att', model: 'gemma-2-9b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 4096, hook: 'blocks.{layer}.attn.hook_z', ids: [
      { id: 'layer_{layer:0-41}/width_{width:16k|131k}/average_l0_{l0}' },
    ],
  },
  'gemma-scope-9b-pt-att-canonical': {
    repo: 'google/gemma-scope-9b-pt-att', model: 'gemma-2-9b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 4096, hook: 'blocks.{layer}.attn.hook_z', ids: [
      { id: 'layer_{layer:0-41}/width_16k/canonical', path: 'layer_{layer}/width_16k/average_l0_{l0}', l0: [61, 77, 69, 102, 126, 125, 108, 70, 65, 71, 132, 67, 68, 77, 81, 79, 81, 110, 80, 86, 76, 86, 70, 80, 79, 73, 75, 136, 71, 76, 73, 73, 74, 78, 91, 77, 69, 82, 81, 77, 91, 129] },
      { id: 'layer_{layer:0-41}/width_131k/canonical', path: 'layer_{layer}/width_131k/average_l0_{l0}', l0: [55, 116, 135, 119, 75, 78, 73, 106, 98, 111, 97, 104, 110, 126, 131, 130, 71, 90, 69, 71, 125, 71, 115, 66, 130, 115, 120, 102, 115, 128, 109, 117, 117, 128, 63, 124, 105, 124, 135, 120, 64, 92] },
    ],
  },
  'gemma-scope-9b-pt-mlp': {
    repo: 'google/gemma-scope-9b-pt-mlp', model: 'gemma-2-9b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 3584, hook: 'blocks.{layer}.hook_mlp_out', ids: [
      { id: 'layer_{layer:0-41}/width_{width:16k|131k}/average_l0_{l0}' },
    ],
  },
  'gemma-scope-9b-pt-mlp-canonical': {
    repo: 'google/gemma-scope-9b-pt-mlp', model: 'gemma-2-9b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 3584, hook: 'blocks.{layer}.hook_mlp_out', ids: [
      { id: 'layer_{layer:0-41}/width_16k/canonical', path: 'layer_{layer}/width_16k/average_l0_{l0}', l0: [50, 128, 81, 126, 66, 93, 96, 101, 124, 83, 114, 76, 96, 94, 97, 107, 91, 104, 89, 98, 108, 88, 85, 73, 73, 72, 142, 126, 115, 111, 116, 94, 98, 107, 107, 108, 109, 119, 98, 90, 74, 126] },
      { id: 'layer_{layer:0-41}/width_131k/canonical', path: 'layer_{layer}/width_131k/average_l0_{l0}', l0: [30, 106, 61, 109, 84, 131, 72, 75, 89, 129, 83, 120, 77, 75, 80, 89, 81, 91, 82, 85, 93, 79, 77, 67, 67, 65, 110, 99, 91, 87, 89, 77, 76, 83, 82, 80, 81, 90, 79, 75, 125, 99] },
    ],
  },
  'gemma-scope-9b-pt-res': {
    repo: 'google/gemma-scope-9b-pt-res', model: 'gemma-2-9b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 3584, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'layer_{layer:0-41}/width_{width:131k|16k}/average_l0_{l0}' },
      { id: 'layer_{layer:9|20|31}/width_{width:1m}/average_l0_{l0}' },
      { id: 'layer_{layer:20}/width_{width:262k|32k|524k|65k}/average_l0_{l0}' },
      { id: 'embedding/width_4k/average_l0_{l0:7|14|22|80}', hook: 'hook_embed' },
    ],
  },
  'gemma-scope-9b-pt-res-canonical': {
    repo: 'google/gemma-scope-9b-pt-res', model: 'gemma-2-9b', loader: 'gemma-scope', licence: 'cc-by-4.0', dIn: 3584, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'layer_{layer:0-41}/width_16k/canonical', path: 'layer_{layer}/width_16k/average_l0_{l0}', l0: [129, 69, 67, 90, 91, 77, 93, 92, 99, 100, 113, 118, 130, 132, 67, 131, 75, 73, 71, 132, 68, 129, 123, 120, 114, 114, 116, 118, 119, 119, 120, 114, 111, 114, 114, 120, 120, 124, 128, 131, 125, 113] },
      { id: 'layer_{layer:0-41}/width_131k/canonical', path: 'layer_{layer}/width_131k/average_l0_{l0}', l0: [41, 56, 70, 103, 101, 94, 120, 119, 72, 75, 84, 88, 96, 99, 105, 103, 121, 117, 113, 110, 114, 109, 105, 101, 97, 96, 97, 96, 98, 97, 95, 92, 88, 91, 89, 94, 93, 96, 101, 99, 94, 84] },
      { id: 'layer_{layer:9|20|31}/width_1m/canonical', path: 'layer_{layer}/width_1m/average_l0_{l0}', l0: { 9: 122, 20: 101, 31: 77 } },
      { id: 'layer_{layer:20}/width_32k/canonical', path: 'layer_{layer}/width_32k/average_l0_{l0}', l0: { 20: 57 } },
      { id: 'layer_{layer:20}/width_524k/canonical', path: 'layer_{layer}/width_524k/average_l0_{l0}', l0: { 20: 48 } },
      { id: 'layer_{layer:20}/width_65k/canonical', path: 'layer_{layer}/width_65k/average_l0_{l0}', l0: { 20: 55 } },
    ],
  },
  'gemma-scope-2b-pt-transcoders': {
    repo: 'google/gemma-scope-2b-pt-transcoders', model: 'gemma-2-2b', loader: 'gemma-scope-transcoder', licence: 'cc-by-4.0', dIn: 2304, hook: 'blocks.{layer}.ln2.hook_normalized', ids: [
      { id: 'layer_{layer:0-25}/width_{width:16k}/average_l0_{l0}' },
    ],
  },
};
