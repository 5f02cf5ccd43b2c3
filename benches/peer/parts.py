"""Training steps of both stages out of transformers' parts, for machines that LAVIS's packages do not run on.

The mathematics is LAVIS's, with one difference in favour of neither: generation reads queries and text in one pass under a
mask, where LAVIS keeps the queries' keys and values of the first pass.
"""

import torch
import torch.nn.functional as F
from tokenizers import BertWordPieceTokenizer
from torch import nn
from transformers import Blip2QFormerConfig, OPTConfig, OPTForCausalLM
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel, Blip2TextEmbeddings

from captions import VOCABULARY, captions
from device import DEVICE

QUERIES, EMBEDDING, DECODE, SMOOTHING = 32, 256, 30522, 0.1


def token_ids(count):
    """Ids and mask `[count, tokens]` of so many captions, padded to the longest."""
    tokenizer = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
    tokenizer.enable_padding()
    tokenizer.enable_truncation(32)
    encoded = tokenizer.encode_batch(captions(count))
    return [torch.tensor([getattr(text, what) for text in encoded]) for what in ("ids", "attention_mask")]


class QFormer(nn.Module):
    """Queries and text in one transformer; the layer norm of the image features in front."""

    def __init__(self, image_width, reads_text):
        super().__init__()
        config = Blip2QFormerConfig(
            vocab_size=30523,
            encoder_hidden_size=image_width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            use_qformer_text_input=reads_text,
        )
        self.width = config.hidden_size
        self.image_norm = nn.LayerNorm(image_width)
        self.queries = nn.Parameter(torch.randn(1, QUERIES, config.hidden_size) * config.initializer_range)
        self.layers = Blip2QFormerModel(config)
        if reads_text:
            self.words = Blip2TextEmbeddings(config)

    def forward(self, features=None, ids=None, seen=None):
        """States of queries, where there are features, and then of text; `seen` `[batch, to, from]` says who sees whom."""
        rows = len(ids) if features is None else len(features)
        queries = None if features is None else self.queries.expand(rows, -1, -1)
        states = queries if ids is None else self.words(input_ids=ids, query_embeds=queries)
        return self.layers.encoder(
            self.layers.layernorm(states),
            attention_mask=None if seen is None else seen[:, None],
            encoder_hidden_states=features,
            query_length=0 if queries is None else QUERIES,
        ).last_hidden_state


class Stage1(nn.Module):
    """Contrast, matching and generation."""

    def __init__(self, image_width):
        super().__init__()
        self.qformer = QFormer(image_width, reads_text=True)
        width, table = self.qformer.width, self.qformer.words.word_embeddings.weight
        self.image_head, self.text_head = nn.Linear(width, EMBEDDING), nn.Linear(width, EMBEDDING)
        self.matching_head = nn.Linear(width, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.decoder = nn.Linear(width, len(table))
        self.decoder.weight = table

    def forward(self, features, ids, mask):
        features = self.qformer.image_norm(features)
        rows, length = ids.shape
        real = mask.bool()
        contrast, similarity = self.contrast(features, ids, real)
        with torch.no_grad():
            drawn = similarity.softmax(1).fill_diagonal_(0.0) + 1e-9
            images, texts = torch.multinomial(drawn.T, 1)[:, 0], torch.multinomial(drawn, 1)[:, 0]
        own = torch.arange(rows)
        pairs = torch.cat([own, images, own]), torch.cat([own, own, texts])
        seen = F.pad(real[pairs[1]], (QUERIES, 0), value=True)[:, None].expand(-1, QUERIES + length, -1)
        states = self.qformer(features[pairs[0]], ids[pairs[1]], seen)[:, :QUERIES]
        labels = (torch.arange(3 * rows) < rows).long()
        matching = F.cross_entropy(self.matching_head(states).mean(1), labels)
        return contrast + matching + self.generation(features, ids, real)

    def contrast(self, features, ids, real):
        rows, length = ids.shape
        images = F.normalize(self.image_head(self.qformer(features)), dim=-1)
        states = self.qformer(ids=ids, seen=real[:, None].expand(-1, length, -1))
        texts = F.normalize(self.text_head(states[:, 0]), dim=-1)
        similarity = torch.einsum("iqd,td->itq", images, texts).amax(2) / self.temperature
        targets = torch.arange(rows)
        both = [F.cross_entropy(each, targets, label_smoothing=SMOOTHING) for each in (similarity, similarity.T)]
        return sum(both) / 2, similarity.float()

    def generation(self, features, ids, real):
        rows, length = ids.shape
        given = ids.clone()
        given[:, 0] = DECODE
        total = QUERIES + length
        seen = torch.ones(total, total, dtype=torch.bool).tril_()
        seen[:QUERIES, :QUERIES] = True
        seen = seen & F.pad(real, (QUERIES, 0), value=True)[:, None]
        states = self.qformer(features, given, seen)[:, QUERIES:-1]
        logits = self.decoder(self.transform(states))
        targets = ids[:, 1:].masked_fill(~real[:, 1:], -100)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), label_smoothing=SMOOTHING)


class Stage2(nn.Module):
    """A soft prompt in front of a frozen language model."""

    def __init__(self, image_width, language_model):
        super().__init__()
        self.qformer = QFormer(image_width, reads_text=False)
        self.projection = nn.Linear(self.qformer.width, language_model.config.word_embed_proj_dim)
        self.frozen = [language_model]

    def forward(self, features, ids, mask):
        [language_model] = self.frozen
        prompt = self.projection(self.qformer(self.qformer.image_norm(features)))
        words = language_model.get_input_embeddings()(ids)
        whole = torch.cat([prompt.to(words.dtype), words], dim=1)
        seen = F.pad(mask, (QUERIES, 0), value=1)
        labels = F.pad(ids.masked_fill(mask == 0, -100), (QUERIES, 0), value=-100)
        return language_model(inputs_embeds=whole, attention_mask=seen, labels=labels).loss


def opt_2_7b():
    config = OPTConfig(
        hidden_size=2560, word_embed_proj_dim=2560, ffn_dim=10240, num_hidden_layers=32, num_attention_heads=32, dropout=0.0
    )
    return OPTForCausalLM(config).to(torch.bfloat16).requires_grad_(False)


def step(model, features, batch, precision):
    """One step of AdamW, as LAVIS groups the parameters; `features` makes those of the step."""
    model.to(DEVICE).train()
    decayed = [parameter for parameter in model.parameters() if parameter.ndim != 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98))
    ids, mask = token_ids(batch)

    def run():
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = model(features(), ids, mask)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if not loss.isfinite():
            raise RuntimeError(f"the loss is {loss.item()}")

    return run
