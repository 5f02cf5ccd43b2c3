"""Single operations, forward alone or with their backward."""

import torch
import torch.nn.functional as F

SMOOTHING = 0.1
EPSILON = 1e-6


def build(op, training=False, precision="f32", **sizes):
    if op in ("adamw", "gradient_norm"):
        return {"adamw": adamw, "gradient_norm": gradient_norm}[op](**sizes)
    leaves, compute = OPERATIONS[op](**sizes)
    for leaf in leaves:
        leaf.requires_grad_(training)

    def run():
        with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            result = compute(*leaves)
        if training:
            result.backward(torch.ones_like(result))
            for leaf in leaves:
                leaf.grad = None

    return run


def elementwise(function, arguments=1):
    return lambda rows, width: ([torch.randn(rows, width) for _ in range(arguments)], function)


def normalised(function, arguments, parameters):
    def build(rows, width):
        leaves = [torch.randn(rows, width) for _ in range(arguments)] + [torch.randn(width) for _ in range(parameters)]
        return leaves, function

    return build


def layer_norm(x, weight, bias):
    return F.layer_norm(x, weight.shape, weight, bias, EPSILON)


def linear(rows, inputs, outputs):
    return [torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)], F.linear


def attention(batch, heads, queries, keys, width, causal=False):
    leaves = [torch.randn(batch, tokens, heads, width) for tokens in (queries, keys, keys)]

    def compute(query, key, value):
        query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)

    return leaves, compute


def cross_entropy(rows, classes):
    targets = torch.randint(classes, (rows,))
    return [torch.randn(rows, classes)], lambda logits: F.cross_entropy(logits, targets, label_smoothing=SMOOTHING)


def linear_cross_entropy(rows, width, classes):
    targets = torch.randint(classes, (rows,))

    def compute(hidden, weight, bias):
        return F.cross_entropy(F.linear(hidden, weight, bias), targets, label_smoothing=SMOOTHING)

    return [torch.randn(rows, width), torch.randn(classes, width), torch.randn(classes)], compute


def adamw(count, fused=False):
    parameter = torch.nn.Parameter(torch.randn(count))
    parameter.grad = torch.randn(count)
    optimizer = torch.optim.AdamW([parameter], lr=1e-4, betas=(0.9, 0.98), weight_decay=0.05, fused=fused)
    return optimizer.step


def gradient_norm(count):
    gradient = torch.randn(count)
    return lambda: torch.nn.utils.get_total_norm([gradient]).item()


OPERATIONS = {
    "gelu": elementwise(F.gelu),
    "gelu_tanh": elementwise(lambda x: F.gelu(x, approximate="tanh")),
    "quick_gelu": elementwise(lambda x: x * torch.sigmoid(1.702 * x)),
    "silu_gate": elementwise(lambda gate, up: F.silu(gate) * up, arguments=2),
    "softmax": elementwise(lambda x: x.softmax(-1)),
    "layer_norm": normalised(layer_norm, 1, 2),
    "add_layer_norm": normalised(lambda x, residual, *affine: layer_norm(x + residual, *affine), 2, 2),
    "rms_norm": normalised(lambda x, weight: F.rms_norm(x, weight.shape, weight, EPSILON), 1, 1),
    "linear": linear,
    "attention": attention,
    "cross_entropy": cross_entropy,
    "linear_cross_entropy": linear_cross_entropy,
}
