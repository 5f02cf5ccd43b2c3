"""One pass of LAVIS's Q-Former over images and texts, as in matching, without gradients."""

import torch

import original
from captions import captions


def build(batch, image_tokens, image_width, text_tokens):
    original.offline(image_width, dropout=0.0)
    tokenizer = original.Blip2Base.init_tokenizer()
    bert, queries = original.Blip2Base.init_Qformer(32, image_width)
    bert.resize_token_embeddings(len(tokenizer))
    bert.eval()
    texts = tokenizer(captions(batch, text_tokens), return_tensors="pt", padding="longest")
    features = torch.randn(batch, image_tokens, image_width)
    attended = torch.ones(batch, image_tokens, dtype=torch.long)
    mask = torch.cat([torch.ones(batch, 32, dtype=torch.long), texts.attention_mask], dim=1)

    @torch.inference_mode()
    def run():
        return bert.bert(
            texts.input_ids,
            query_embeds=queries.expand(batch, -1, -1),
            attention_mask=mask,
            encoder_hidden_states=features,
            encoder_attention_mask=attended,
            return_dict=True,
        ).last_hidden_state

    return run
