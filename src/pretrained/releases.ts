/**
 * Published SAEs by the names that SAELens gives their releases, and those of audio models, which it does not have. What is not known is null. `scale` is the factor
 * of the frames in training where the SAE's own files do not have it.
 */
import { gemmaScopeReleases } from './releases-gemma-scope.ts';
import type { Release } from './registry.ts';

export const releases: Readonly<Record<string, Release>> = {
  'audiosae-whisper-small': {
    repo: 'Egorgij21/Audio-SAE-Whisper-small', model: 'openai/whisper-small', loader: 'audiosae', licence: 'mit', dIn: 768, hook: 'encoder.layers.{layer-1}', ids: [
      { id: 'layer_{layer:1-12}' },
    ],
  },
  'audiosae-whisper-large-v3': { repo: null, model: 'openai/whisper-large-v3', loader: 'audiosae', licence: 'mit', dIn: 1280, hook: 'encoder.layers.{layer-1}', ids: [{ id: 'layer_{layer:1-32}' }] },
  'audiosae-whisper-large-v3-turbo': {
    repo: null, model: 'openai/whisper-large-v3-turbo', loader: 'audiosae', licence: 'mit', dIn: 1280, hook: 'encoder.layers.{layer-1}', ids: [
      { id: 'layer_{layer:1-32}' },
    ],
  },
  'audiosae-hubert-base': {
    repo: 'Egorgij21/Audio-SAE-HuBERT-base', model: 'facebook/hubert-base-ls960', loader: 'audiosae', licence: 'mit', dIn: 768, hook: 'encoder.layers.{layer-1}', ids: [
      { id: 'layer_{layer:1-12}' },
    ],
  },
  'audiosae-hubert-large': {
    repo: 'Egorgij21/Audio-SAE-HuBERT-large', model: 'facebook/hubert-large-ll60k', loader: 'audiosae', licence: 'mit', dIn: 1024, hook: 'encoder.layers.{layer-1}', ids: [
      { id: 'layer_{layer:1-24}' },
    ],
  },
  'goodfire-llama-3.3-70b-instruct': {
    repo: 'Goodfire/Llama-3.3-70B-Instruct-SAE-l50', model: 'meta-llama/Llama-3.3-70B-Instruct', loader: 'linear-layers', licence: null, dIn: 8192, hook: 'blocks.50.hook_resid_post', ids: [
      { id: 'layer_50', path: 'Llama-3.3-70B-Instruct-SAE-l50.pt' },
    ],
  },
  'goodfire-llama-3.1-8b-instruct': {
    repo: 'Goodfire/Llama-3.1-8B-Instruct-SAE-l19', model: 'meta-llama/Llama-3.1-8B-Instruct', loader: 'linear-layers', licence: null, dIn: 4096, hook: 'blocks.19.hook_resid_post', ids: [
      { id: 'layer_19', path: 'Llama-3.1-8B-Instruct-SAE-l19.pth' },
    ],
  },
  'gemma-scope-2-4b-it-res': {
    repo: 'google/gemma-scope-2-4b-it', model: 'google/gemma-3-4b-it', loader: 'gemma-scope-2', licence: null, dIn: 2560, hook: null, ids: [
      { id: 'layer_{layer:9|17|22|29}_width_{width:16k|65k|262k|1m}_l0_{l0:small|medium|big}', path: 'resid_post/layer_{layer}_width_{width}_l0_{l0}' },
    ],
  },
  'sae-llama-3-8b-32x': {
    repo: 'EleutherAI/sae-llama-3-8b-32x', model: 'meta-llama/Meta-Llama-3-8B', loader: 'sparsify', licence: 'mit', dIn: 4096, hook: null, ids: [
      { id: 'layers.{layer}' },
      { id: 'layer_{layer}' },
    ],
  },
  'deepseek-r1-distill-llama-8b-qresearch': {
    repo: 'qresearch/DeepSeek-R1-Distill-Llama-8B-SAE-l19', model: 'deepseek-ai/DeepSeek-R1-Distill-Llama-8B', loader: 'linear-layers', licence: null, dIn: 4096, hook: '{id}', ids: [
      { id: 'blocks.19.hook_resid_post', path: 'DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt' },
    ],
  },
  'gemma-2b-it-res-jb': {
    repo: 'jbloom/Gemma-2b-IT-Residual-Stream-SAEs', model: 'gemma-2b-it', loader: 'saelens', licence: null, dIn: 2048, hook: '{id}', ids: [
      { id: 'blocks.12.hook_resid_post', path: 'gemma_2b_it_blocks.12.hook_resid_post_16384' },
    ],
  },
  'gemma-2b-res-jb': {
    repo: 'jbloom/Gemma-2b-Residual-Stream-SAEs', model: 'gemma-2b', loader: 'saelens', licence: null, dIn: 2048, hook: '{id}', ids: [
      { id: 'blocks.0.hook_resid_post', path: 'gemma_2b_blocks.0.hook_resid_post_16384_anthropic' },
      { id: 'blocks.6.hook_resid_post', path: 'gemma_2b_blocks.6.hook_resid_post_16384_anthropic_fast_lr' },
      { id: 'blocks.{layer:10|12|17}.hook_resid_post', path: 'gemma_2b_blocks.{layer}.hook_resid_post_16384', scale: { 12: 0.21381938399317255 } },
    ],
  },
  'gpt2-small-attn-out-v5-128k': {
    repo: 'jbloom/GPT2-Small-OAI-v5-128k-attn-out-SAEs', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_attn_out', path: 'v5_128k_layer_{layer}' },
    ],
  },
  'gpt2-small-attn-out-v5-32k': {
    repo: 'jbloom/GPT2-Small-OAI-v5-32k-attn-out-SAEs', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_attn_out', path: 'v5_32k_layer_{layer}' },
    ],
  },
  'gpt2-small-hook-z-kk': {
    repo: 'ckkissane/attn-saes-gpt2-small-all-layers', model: 'gpt2-small', loader: 'hook-z', licence: null, dIn: 768, hook: null, ids: [
      { id: 'blocks.0.hook_z', path: 'gpt2-small_L0_Hcat_z_lr1.20e-03_l11.80e+00_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt', hook: 'blocks.0.attn.hook_z' },
      { id: 'blocks.1.hook_z', path: 'gpt2-small_L1_Hcat_z_lr1.20e-03_l18.00e-01_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v5.pt', hook: 'blocks.1.attn.hook_z' },
      { id: 'blocks.2.hook_z', path: 'gpt2-small_L2_Hcat_z_lr1.20e-03_l11.00e+00_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v4.pt', hook: 'blocks.2.attn.hook_z' },
      { id: 'blocks.3.hook_z', path: 'gpt2-small_L3_Hcat_z_lr1.20e-03_l19.00e-01_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt', hook: 'blocks.3.attn.hook_z' },
      { id: 'blocks.4.hook_z', path: 'gpt2-small_L4_Hcat_z_lr1.20e-03_l11.10e+00_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v7.pt', hook: 'blocks.4.attn.hook_z' },
      { id: 'blocks.5.hook_z', path: 'gpt2-small_L5_Hcat_z_lr1.20e-03_l11.00e+00_ds49152_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt', hook: 'blocks.5.attn.hook_z' },
      { id: 'blocks.6.hook_z', path: 'gpt2-small_L6_Hcat_z_lr1.20e-03_l11.10e+00_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt', hook: 'blocks.6.attn.hook_z' },
      { id: 'blocks.7.hook_z', path: 'gpt2-small_L7_Hcat_z_lr1.20e-03_l11.10e+00_ds49152_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt', hook: 'blocks.7.attn.hook_z' },
      { id: 'blocks.8.hook_z', path: 'gpt2-small_L8_Hcat_z_lr1.20e-03_l11.30e+00_ds24576_bs4096_dc1.00e-05_rsanthropic_rie25000_nr4_v6.pt', hook: 'blocks.8.attn.hook_z' },
      { id: 'blocks.9.hook_z', path: 'gpt2-small_L9_Hcat_z_lr1.20e-03_l11.20e+00_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt', hook: 'blocks.9.attn.hook_z' },
      { id: 'blocks.10.hook_z', path: 'gpt2-small_L10_Hcat_z_lr1.20e-03_l11.30e+00_ds24576_bs4096_dc1.00e-05_rsanthropic_rie25000_nr4_v9.pt', hook: 'blocks.10.attn.hook_z' },
      { id: 'blocks.11.hook_z', path: 'gpt2-small_L11_Hcat_z_lr1.20e-03_l13.00e+00_ds24576_bs4096_dc3.16e-06_rsanthropic_rie25000_nr4_v9.pt', hook: 'blocks.11.attn.hook_z' },
    ],
  },
  'gpt2-small-mlp-out-v5-128k': {
    repo: 'jbloom/GPT2-Small-OAI-v5-128k-mlp-out-SAEs', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_mlp_out', path: 'v5_128k_layer_{layer}' },
    ],
  },
  'gpt2-small-mlp-out-v5-32k': {
    repo: 'jbloom/GPT2-Small-OAI-v5-32k-mlp-out-SAEs', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_mlp_out', path: 'v5_32k_layer_{layer}' },
    ],
  },
  'gpt2-small-mlp-tm': {
    repo: 'tommmcgrath/gpt2-small-mlp-out-saes', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0|8}.hook_mlp_out', path: 'sae_group_gpt2_blocks.{layer}.hook_mlp_out_24576:v1', scale: { 0: 1.049317316132615, 8: 0.9123762783479742 } },
      { id: 'blocks.{layer:1|2|3|4|5|6|7|9|10}.hook_mlp_out', path: 'sae_group_gpt2_blocks.{layer}.hook_mlp_out_24576:v0', scale: { 1: 2.3693984005104283, 2: 1.6411934982190302, 3: 1.8958522157897557, 4: 1.81673478700627, 5: 1.550234472245924, 6: 1.3237742807210804, 7: 1.1042905114723296, 9: 0.6955335635232373, 10: 0.3619728926727644 } },
      { id: 'blocks.11.hook_mlp_out', path: 'sae_group_gpt2_blocks.11.hook_mlp_out_24576:v2', scale: 0.2851548652550073 },
    ],
  },
  'gpt2-small-res-jb': {
    repo: 'jbloom/GPT2-Small-SAEs-Reformatted', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_resid_pre' },
      { id: 'blocks.11.hook_resid_post' },
    ],
  },
  'gpt2-small-res-jb-feature-splitting': {
    repo: 'jbloom/GPT2-Small-Feature-Splitting-Experiment-Layer-8', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.8.hook_resid_pre_{width:768|1536|3072|6144|12288|24576|49152|98304}', hook: 'blocks.8.hook_resid_pre' },
    ],
  },
  'gpt2-small-res_sce-ajt': {
    repo: 'neuronpedia/gpt2-small__res_sce-ajt', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:2|6|10}.hook_resid_pre', path: '{layer}-res_sce-ajt' },
    ],
  },
  'gpt2-small-res_scefr-ajt': {
    repo: 'neuronpedia/gpt2-small__res_scefr-ajt', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:2|6|10}.hook_resid_pre', path: '{layer}-res_scefr-ajt' },
    ],
  },
  'gpt2-small-res_scl-ajt': {
    repo: 'neuronpedia/gpt2-small__res_scl-ajt', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:2|6|10}.hook_resid_pre', path: '{layer}-res_scl-ajt' },
    ],
  },
  'gpt2-small-res_sle-ajt': {
    repo: 'neuronpedia/gpt2-small__res_sle-ajt', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:2|6|10}.hook_resid_pre', path: '{layer}-res_sle-ajt' },
    ],
  },
  'gpt2-small-res_slefr-ajt': {
    repo: 'neuronpedia/gpt2-small__res_slefr-ajt', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:2|6|10}.hook_resid_pre', path: '{layer}-res_slefr-ajt' },
    ],
  },
  'gpt2-small-res_sll-ajt': {
    repo: 'neuronpedia/gpt2-small__res_sll-ajt', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:2|6|10}.hook_resid_pre', path: '{layer}-res_sll-ajt' },
    ],
  },
  'gpt2-small-resid-mid-v5-128k': {
    repo: 'jbloom/GPT2-Small-OAI-v5-128k-resid-mid-SAEs', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_resid_mid', path: 'v5_128k_layer_{layer}' },
    ],
  },
  'gpt2-small-resid-mid-v5-32k': {
    repo: 'jbloom/GPT2-Small-OAI-v5-32k-resid-mid-SAEs', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_resid_mid', path: 'v5_32k_layer_{layer}' },
    ],
  },
  'gpt2-small-resid-post-v5-128k': {
    repo: 'jbloom/GPT2-Small-OAI-v5-128k-resid-post-SAEs', model: 'gpt2-small', loader: 'saelens', licence: null, dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_resid_post', path: 'v5_128k_layer_{layer}' },
    ],
  },
  'gpt2-small-resid-post-v5-32k': {
    repo: 'jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs', model: 'gpt2-small', loader: 'saelens', licence: 'mit', dIn: 768, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-11}.hook_resid_post', path: 'v5_32k_layer_{layer}.pt' },
    ],
  },
  'llama-3-8b-it-res-jh': {
    repo: 'Juliushanhanhan/llama-3-8b-it-res', model: 'meta-llama/Meta-Llama-3-8B-Instruct', loader: 'saelens', licence: null, dIn: 4096, hook: '{id}', ids: [
      { id: 'blocks.25.hook_resid_post' },
    ],
  },
  llama_scope_lxa_32x: {
    repo: 'fnlp/Llama3_1-8B-Base-LXA-32x', model: 'meta-llama/Llama-3.1-8B', loader: 'llama-scope', licence: null, dIn: 4096, hook: null, ids: [
      { id: 'l{layer:0-31}a_32x', path: 'Llama3_1-8B-Base-L{layer}A-32x' },
    ],
  },
  llama_scope_lxa_8x: {
    repo: 'fnlp/Llama3_1-8B-Base-LXA-8x', model: 'meta-llama/Llama-3.1-8B', loader: 'llama-scope', licence: null, dIn: 4096, hook: null, ids: [
      { id: 'l{layer:0-31}a_8x', path: 'Llama3_1-8B-Base-L{layer}A-8x' },
    ],
  },
  llama_scope_lxm_32x: {
    repo: 'fnlp/Llama3_1-8B-Base-LXM-32x', model: 'meta-llama/Llama-3.1-8B', loader: 'llama-scope', licence: null, dIn: 4096, hook: null, ids: [
      { id: 'l{layer:0-31}m_32x', path: 'Llama3_1-8B-Base-L{layer}M-32x' },
    ],
  },
  llama_scope_lxm_8x: {
    repo: 'fnlp/Llama3_1-8B-Base-LXM-8x', model: 'meta-llama/Llama-3.1-8B', loader: 'llama-scope', licence: null, dIn: 4096, hook: null, ids: [
      { id: 'l{layer:0-31}m_8x', path: 'Llama3_1-8B-Base-L{layer}M-8x' },
    ],
  },
  llama_scope_lxr_32x: {
    repo: 'fnlp/Llama3_1-8B-Base-LXR-32x', model: 'meta-llama/Llama-3.1-8B', loader: 'llama-scope', licence: null, dIn: 4096, hook: null, ids: [
      { id: 'l{layer:0-31}r_32x', path: 'Llama3_1-8B-Base-L{layer}R-32x' },
    ],
  },
  llama_scope_lxr_8x: {
    repo: 'fnlp/Llama3_1-8B-Base-LXR-8x', model: 'meta-llama/Llama-3.1-8B', loader: 'llama-scope', licence: null, dIn: 4096, hook: null, ids: [
      { id: 'l{layer:0-31}r_8x', path: 'Llama3_1-8B-Base-L{layer}R-8x' },
    ],
  },
  llama_scope_r1_distill: {
    repo: 'fnlp/Llama-Scope-R1-Distill', model: 'deepseek-ai/DeepSeek-R1-Distill-Llama-8B', loader: 'llama-scope-r1-distill', licence: null, dIn: 4096, hook: null, ids: [
      { id: 'l{layer:0-31}r_800m_slimpajama', path: '800M-Slimpajama-0-OpenR1-Math-220k/L{layer}R', scale: [53.52995401997436, 37.07457226753229, 26.801271953747353, 20.258785842428143, 16.35620323956284, 13.77273090622553, 11.802642616140206, 10.345622082873675, 9.52711219837399, 8.722802553532865, 8.187374613072596, 7.681409438301019, 7.011470964851573, 6.507851835301529, 6.075830839342571, 5.529329506982431, 5.04125765694814, 4.543060254752811, 4.136073768441771, 3.8186778444880143, 3.4997662089479755, 3.114875161525094, 2.858677637086371, 2.6143620233159384, 2.406593266301888, 2.2185540508553694, 2.038628827422577, 1.8664054897001374, 1.6914743009513147, 1.530389056066687, 1.3378642198135962, 1.0963025732622191] },
      { id: 'l{layer:0-31}r_400m_slimpajama_400m_openr1_math', path: '400M-Slimpajama-400M-OpenR1-Math-220k/L{layer}R', scale: [53.97673033497749, 36.76995792628666, 26.86329549484781, 20.473522361966317, 16.491433880849524, 13.902529211394633, 11.959185891949216, 10.454685082137889, 9.625849752730096, 8.705443147441324, 8.0884989084078, 7.449578399564585, 6.80144905444981, 6.331711239265464, 5.70284230018703, 5.318041374444156, 4.79639347416429, 4.333554093692626, 3.9386839067851334, 3.584045063066589, 3.4122850442674064, 2.9930188471058385, 2.7548717844301582, 2.5281942698718076, 2.326851186904894, 2.101068654605767, 1.9361189375890395, 1.7784660082777055, 1.6635049539624462, 1.448853212514504, 1.157008764313032, 1.041977999933546] },
      { id: 'l{layer:0-31}r_800m_openr1_math', path: '0-Slimpajama-800M-OpenR1-Math-220k/L{layer}R', scale: [54.308791085956486, 36.49473030775242, 26.96126387031055, 20.52210199911164, 16.67733543806145, 14.067505043509176, 12.034338704494331, 10.495662821867164, 9.683004157081735, 8.679730500864236, 7.988383971728427, 7.237531143695951, 6.69444885029299, 6.0489858065009265, 5.4935929917888595, 4.970860531188141, 4.541887865516153, 4.111292885351861, 3.7319009471881754, 3.4464218438335172, 3.1614163309538377, 2.8600260547627334, 2.636157171207381, 2.4287397996449367, 2.2405978768214556, 2.034659098936678, 1.8430054630341937, 1.6554423260870552, 1.477070442772071, 1.3361543238773446, 1.1387454210154435, 0.926395749048437] },
    ],
  },
  'mistral-7b-res-wg': {
    repo: 'JoshEngels/Mistral-7B-Residual-Stream-SAEs', model: 'mistral-7b', loader: 'saelens', licence: null, dIn: 4096, hook: '{id}', overrides: { normalize_activations: 'constant_norm_rescale' }, ids: [
      { id: 'blocks.{layer:8|16|24}.hook_resid_pre', path: 'mistral_7b_layer_{layer}' },
    ],
  },
  'pythia-70m-deduped-att-sm': {
    repo: 'ctigges/pythia-70m-deduped__att-sm_processed', model: 'pythia-70m-deduped', loader: 'saelens', licence: null, dIn: 512, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-5}.hook_attn_out', path: '{layer}-att-sm' },
    ],
  },
  'pythia-70m-deduped-mlp-sm': {
    repo: 'ctigges/pythia-70m-deduped__mlp-sm_processed', model: 'pythia-70m-deduped', loader: 'saelens', licence: null, dIn: 512, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-5}.hook_mlp_out', path: '{layer}-mlp-sm' },
    ],
  },
  'pythia-70m-deduped-res-sm': {
    repo: 'ctigges/pythia-70m-deduped__res-sm_processed', model: 'pythia-70m-deduped', loader: 'saelens', licence: null, dIn: 512, hook: '{id}', ids: [
      { id: 'blocks.0.hook_resid_pre', path: 'e-res-sm' },
      { id: 'blocks.{layer:0-5}.hook_resid_post', path: '{layer}-res-sm' },
    ],
  },
  'sae_bench_gemma-2-2b_topk_width-2pow12_date-1109': {
    repo: 'canrager/saebench_gemma-2-2b_width-2pow12_date-1109', model: 'gemma-2-2b', loader: 'dictionary_learning', licence: null, dIn: 2304, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}', path: 'gemma-2-2b_topk_width-2pow12_date-1109/resid_post_layer_{layer}/trainer_{trainer}' },
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}_step_{step:0|97|308|976|3088|9765|30881}', path: 'gemma-2-2b_topk_width-2pow12_date-1109/resid_post_layer_{layer}_checkpoints/trainer_{trainer}_step_{step}' },
    ],
  },
  'sae_bench_gemma-2-2b_topk_width-2pow14_date-1109': {
    repo: 'canrager/saebench_gemma-2-2b_width-2pow14_date-1109', model: 'gemma-2-2b', loader: 'dictionary_learning', licence: null, dIn: 2304, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}', path: 'gemma-2-2b_topk_width-2pow14_date-1109/resid_post_layer_{layer}/trainer_{trainer}' },
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}_step_{step:0|146|463|1464|4632|14648|46322}', path: 'gemma-2-2b_topk_width-2pow14_date-1109/resid_post_layer_{layer}_checkpoints/trainer_{trainer}_step_{step}' },
    ],
  },
  'sae_bench_gemma-2-2b_topk_width-2pow16_date-1109': {
    repo: 'canrager/saebench_gemma-2-2b_width-2pow16_date-1109', model: 'gemma-2-2b', loader: 'dictionary_learning', licence: null, dIn: 2304, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}', path: 'gemma-2-2b_topk_width-2pow16_date-1109/resid_post_layer_{layer}/trainer_{trainer}' },
    ],
  },
  'sae_bench_gemma-2-2b_vanilla_width-2pow12_date-1109': {
    repo: 'canrager/saebench_gemma-2-2b_width-2pow12_date-1109', model: 'gemma-2-2b', loader: 'dictionary_learning', licence: null, dIn: 2304, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}', path: 'gemma-2-2b_vanilla_width-2pow12_date-1109/resid_post_layer_{layer}/trainer_{trainer}' },
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}_step_{step:0|97|308|976|3088|9765|30881}', path: 'gemma-2-2b_vanilla_width-2pow12_date-1109/resid_post_layer_{layer}_checkpoints/trainer_{trainer}_step_{step}' },
    ],
  },
  'sae_bench_gemma-2-2b_vanilla_width-2pow14_date-1109': {
    repo: 'canrager/saebench_gemma-2-2b_width-2pow14_date-1109', model: 'gemma-2-2b', loader: 'dictionary_learning', licence: null, dIn: 2304, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}', path: 'gemma-2-2b_vanilla_width-2pow14_date-1109/resid_post_layer_{layer}/trainer_{trainer}' },
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}_step_{step:0|146|463|1464|4632|14648|46322}', path: 'gemma-2-2b_vanilla_width-2pow14_date-1109/resid_post_layer_{layer}_checkpoints/trainer_{trainer}_step_{step}' },
    ],
  },
  'sae_bench_gemma-2-2b_vanilla_width-2pow16_date-1109': {
    repo: 'canrager/saebench_gemma-2-2b_width-2pow16_date-1109', model: 'gemma-2-2b', loader: 'dictionary_learning', licence: null, dIn: 2304, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:5|12|19}.hook_resid_post__trainer_{trainer:0-5}', path: 'gemma-2-2b_vanilla_width-2pow16_date-1109/resid_post_layer_{layer}/trainer_{trainer}' },
    ],
  },
  sae_bench_pythia70m_sweep_gated_ctx128_0730: {
    repo: 'canrager/lm_sae', model: 'pythia-70m-deduped', loader: 'dictionary_learning', licence: null, dIn: 512, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:3-4}.hook_resid_post__trainer_{trainer:0-19}', path: 'pythia70m_sweep_gated_ctx128_0730/resid_post_layer_{layer}/trainer_{trainer}' },
    ],
  },
  sae_bench_pythia70m_sweep_panneal_ctx128_0730: {
    repo: 'canrager/lm_sae', model: 'pythia-70m-deduped', loader: 'dictionary_learning', licence: null, dIn: 512, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:3-4}.hook_resid_post__trainer_{trainer:0-27}', path: 'pythia70m_sweep_panneal_ctx128_0730/resid_post_layer_{layer}/trainer_{trainer}' },
    ],
  },
  sae_bench_pythia70m_sweep_standard_ctx128_0712: {
    repo: 'canrager/lm_sae', model: 'pythia-70m-deduped', loader: 'dictionary_learning', licence: null, dIn: 512, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:3-4}.hook_resid_post__trainer_{trainer:0-23}', path: 'pythia70m_sweep_standard_ctx128_0712/resid_post_layer_{layer}/trainer_{trainer}' },
    ],
  },
  sae_bench_pythia70m_sweep_topk_ctx128_0730: {
    repo: 'canrager/lm_sae', model: 'pythia-70m-deduped', loader: 'dictionary_learning', licence: null, dIn: 512, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'blocks.{layer:3-4}.hook_resid_post__trainer_{trainer:0-23}', path: 'pythia70m_sweep_topk_ctx128_0730/resid_post_layer_{layer}/trainer_{trainer}' },
    ],
  },
  'gemma-2-2b-res-matryoshka-dc': {
    repo: 'chanind/gemma-2-2b-batch-topk-matryoshka-saes-w-32k-l0-40', model: 'gemma-2-2b', loader: 'saelens', licence: null, dIn: 2304, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-24}.hook_resid_post', path: 'standard/blocks.{layer}.hook_resid_post' },
    ],
  },
  'gemma-2-2b-res-snap-matryoshka-dc': {
    repo: 'chanind/gemma-2-2b-batch-topk-matryoshka-saes-w-32k-l0-40', model: 'gemma-2-2b', loader: 'saelens', licence: null, dIn: 2304, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-24}.hook_resid_post', path: 'snap/blocks.{layer}.hook_resid_post' },
    ],
  },
  'gemma-2-9b-res-matryoshka-dc': {
    repo: 'chanind/gemma-2-9b-batch-topk-matryoshka-saes-w-32k-l0-60', model: 'gemma-2-9b', loader: 'saelens', licence: null, dIn: 3584, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-40}.hook_resid_post' },
    ],
  },
  'gemma-3-1b-res-matryoshka-dc': {
    repo: 'chanind/gemma-3-1b-batch-topk-matryoshka-saes-w-32k-l0-40', model: 'gemma-3-1b', loader: 'saelens', licence: null, dIn: 1152, hook: '{id}', ids: [
      { id: 'blocks.{layer:0-24}.hook_resid_post' },
    ],
  },
  'mwhanna-qwen3-4b-transcoders': {
    repo: 'mwhanna/qwen3-4b-transcoders', model: 'qwen3-4b', loader: 'mwhanna-transcoder', licence: 'mit', dIn: 2560, hook: 'blocks.{layer}.mlp.hook_in', ids: [
      { id: 'layer_{layer:0-35}', path: 'layer_{layer}.safetensors' },
    ],
  },
  'mwhanna-qwen3-8b-transcoders': {
    repo: 'mwhanna/qwen3-8b-transcoders', model: 'qwen3-8b', loader: 'mwhanna-transcoder', licence: null, dIn: 4096, hook: 'blocks.{layer}.mlp.hook_in', ids: [
      { id: 'layer_{layer:0-35}', path: 'layer_{layer}.safetensors' },
    ],
  },
  'mwhanna-qwen3-14b-transcoders': {
    repo: 'mwhanna/qwen3-14b-transcoders', model: 'qwen3-14b', loader: 'mwhanna-transcoder', licence: 'mit', dIn: 5120, hook: 'blocks.{layer}.mlp.hook_in', ids: [
      { id: 'layer_{layer:0-39}', path: 'layer_{layer}.safetensors' },
    ],
  },
  'mwhanna-qwen3-14b-transcoders-lowl0': {
    repo: 'mwhanna/qwen3-14b-transcoders-lowl0', model: 'qwen3-14b', loader: 'mwhanna-transcoder', licence: null, dIn: 5120, hook: 'blocks.{layer}.mlp.hook_in', ids: [
      { id: 'layer_{layer:0-39}', path: 'layer_{layer}.safetensors' },
    ],
  },
  'mwhanna-qwen3-1.7b-transcoders-lowl0': {
    repo: 'mwhanna/qwen3-1.7b-transcoders-lowl0', model: 'qwen3-1.7b', loader: 'mwhanna-transcoder', licence: null, dIn: 2048, hook: 'blocks.{layer}.mlp.hook_in', ids: [
      { id: 'layer_{layer:0-27}', path: 'layer_{layer}.safetensors' },
    ],
  },
  'mwhanna-qwen3-0.6b-transcoders-lowl0': {
    repo: 'mwhanna/qwen3-0.6b-transcoders-lowl0', model: 'qwen3-0.6b', loader: 'mwhanna-transcoder', licence: null, dIn: 1024, hook: 'blocks.{layer}.mlp.hook_in', ids: [
      { id: 'layer_{layer:0-27}', path: 'layer_{layer}.safetensors' },
    ],
  },
  'mntss-gemma-2-2b-2.5m-clt-as-per-layer': {
    repo: 'mntss/clt-gemma-2-2b-2.5M', model: 'gemma-2-2b', loader: 'clt-layer', licence: null, dIn: 2304, hook: null, ids: [
      { id: 'layer_{layer:0-25}', path: 'W_enc_{layer}.safetensors' },
    ],
  },
  'llama-3.1-8b-instruct-andyrdt': {
    repo: 'andyrdt/saes-llama-3.1-8b-instruct', model: 'meta-llama/Llama-3.1-8B-Instruct', loader: 'dictionary_learning', licence: null, dIn: 4096, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'resid_post_layer_{layer:3|7|11|15|19|23|27}_trainer_1', path: 'resid_post_layer_{layer}/trainer_1' },
    ],
  },
  'qwen2.5-7b-instruct-andyrdt': {
    repo: 'andyrdt/saes-qwen2.5-7b-instruct', model: 'Qwen/Qwen2.5-7B-Instruct', loader: 'dictionary_learning', licence: null, dIn: 3584, hook: 'blocks.{layer}.hook_resid_post', ids: [
      { id: 'resid_post_layer_{layer:3|7|11|15|19|23|27}_trainer_1', path: 'resid_post_layer_{layer}/trainer_1' },
    ],
  },
  ...gemmaScopeReleases,
};
