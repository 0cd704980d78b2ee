"""The same network in PyTorch, as its users write it: channels last, half precision by autocast.

Layers bear the names of the Keras layers, by which `copy_weights` finds them. Between the
frameworks lies a pixel: at a stride of 2, Keras' "same" padding adds a row and a column below and
to the right, PyTorch's `padding=1` on all sides; and where Keras cuts the last row and column off a
transposed convolution, PyTorch cuts the first. That is a matter of convention, not of work, so
PyTorch goes its own way here, which saves it copies. With `as_keras` it goes Keras' way, for
comparing numbers.
"""

import os

import numpy as np
import torch
from torch import nn
from torch.nn import functional

# No Keras here: it would count as PyTorch's memory. `bench.same_terms` says where the others run,
# and in which precision, which where it is emulated is slower than float32.
DEVICE = os.environ.get("BENCHMARK_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
PRECISION = getattr(torch, os.environ.get("BENCHMARK_PRECISION", "bfloat16"))
L2 = 1e-4  # that of `resnet.py`, the chapter's


class Network(nn.Module):
    """(B, 3, H, W) in [0, 1] -> logits (B, n_classes, H, W); arguments as for `build_plain`."""

    def __init__(self, depth=56, n_classes=4, n_layers=3, filters=256, as_keras=False):
        super().__init__()
        self.blocks, self.n_layers, self.as_keras = (depth - 2) // 9, n_layers, as_keras
        self.of = nn.ModuleDict()  # layer by name
        self._add_conv("stem_conv", 3, 16, 3)
        self._add_bn("stem_bn", 16)
        filters_in = 16
        channels = 16  # of the map so far
        for stage in range(3):
            filters_out = filters_in * (4 if stage == 0 else 2)
            for block in range(self.blocks):
                name = f"stage{stage}_block{block}"
                strides = 2 if stage > 0 and block == 0 else 1
                if stage > 0 or block > 0:
                    self._add_bn(name + "_1_bn", channels)
                self._add_conv(name + "_1_conv", channels, filters_in, 1, strides)
                self._add_bn(name + "_2_bn", filters_in)
                self._add_conv(name + "_2_conv", filters_in, filters_in, 3)
                self._add_bn(name + "_3_bn", filters_in)
                self._add_conv(name + "_3_conv", filters_in, filters_out, 1)
                if block == 0:
                    self._add_conv(name + "_shortcut_conv", channels, filters_out, 1, strides)
                channels = filters_out
            filters_in = filters_out
        self._add_bn("last_bn", channels)
        for level in range(1, n_layers + 1):
            if level > 1:
                self._add_conv(f"conv_layer{level}", channels, 512, 3, 2)
                self._add_bn(f"bn_layer{level}", 512)
                channels = 512
            self._add_conv(f"conv_fcn_{4 * 2**level}", channels, filters, 3)
            self._add_bn(f"bn_fcn_{4 * 2**level}", filters)
        channels = 256 + n_layers * filters  # concatenated
        for postfix in ("up_x2", "up_x4"):
            # Keras' way leaves a row and a column too many, which `_double` cuts off.
            padding = {} if as_keras else {"padding": 1, "output_padding": 1}
            self.of["tconv_" + postfix] = nn.ConvTranspose2d(channels, filters, 3, 2, **padding)
            self._add_bn("bn_" + postfix, filters)
            channels = filters
        self.of["pre_activation"] = nn.ConvTranspose2d(filters, n_classes, 1)

    def _add_conv(self, name, channels, filters, kernel_size, strides=1):
        padding = kernel_size // 2
        if self.as_keras and strides == 2:
            padding = 0  # `_convolve` pads
        self.of[name] = nn.Conv2d(channels, filters, kernel_size, strides, padding)

    def _add_bn(self, name, channels):
        # Keras' values: a momentum of 0.99 is 0.01 here.
        self.of[name] = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)

    def _convolve(self, x, name):
        layer = self.of[name]
        if self.as_keras and layer.stride == (2, 2) and layer.kernel_size == (3, 3):
            x = functional.pad(x, (0, 1, 0, 1))
        return layer(x)

    def _activate(self, x, name):
        return functional.relu(self.of[name](x), inplace=True)

    def _double(self, x, postfix):
        x = self.of["tconv_" + postfix](x)
        if self.as_keras:
            x = x[:, :, :-1, :-1]
        return self._activate(x, "bn_" + postfix)

    def forward(self, x):
        x = self._activate(self._convolve(x, "stem_conv"), "stem_bn")  # (B, 16, H, W)
        for stage in range(3):
            for block in range(self.blocks):
                name = f"stage{stage}_block{block}"
                y = x if stage == 0 and block == 0 else self._activate(x, name + "_1_bn")
                y = self._convolve(y, name + "_1_conv")
                y = self._convolve(self._activate(y, name + "_2_bn"), name + "_2_conv")
                y = self._convolve(self._activate(y, name + "_3_bn"), name + "_3_conv")
                if block == 0:
                    x = self._convolve(x, name + "_shortcut_conv")
                x = x + y  # (B, 64 * 2^stage, H/2^stage, W/2^stage)
        x = self._activate(x, "last_bn")  # (B, 256, H/4, W/4)
        maps = [x]
        for level in range(1, self.n_layers + 1):
            if level == 1:
                x = functional.avg_pool2d(x, 2)  # (B, 256, H/8, W/8)
            else:
                x = self._activate(self._convolve(x, f"conv_layer{level}"), f"bn_layer{level}")
            y = self._convolve(x, f"conv_fcn_{4 * 2**level}")
            y = self._activate(y, f"bn_fcn_{4 * 2**level}")
            maps.append(functional.interpolate(y, scale_factor=2**level, mode="bilinear"))
        x = torch.cat(maps, dim=1)  # (B, 1024, H/4, W/4)
        x = self._double(x, "up_x2")  # (B, 256, H/2, W/2)
        x = self._double(x, "up_x4")  # (B, 256, H, W)
        return self.of["pre_activation"](x)


def build_torch(**arguments) -> Network:
    """A `Network` with `arguments`, channels last, on the GPU if there is one."""
    return Network(**arguments).to(DEVICE, memory_format=torch.channels_last)


def as_input(pictures: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [0, 1], channels last.

    Pinned tensors go to a GPU while the host goes on.
    """
    pictures = torch.as_tensor(pictures).to(DEVICE, non_blocking=True)
    return pictures.permute(0, 3, 1, 2).float() / 255


def adam(network: Network) -> torch.optim.Adam:
    """Adam with Keras' numbers, and the chapter's weight decay on the backbone's kernels."""
    decayed, free = [], []
    for name, weight in network.named_parameters():
        backbone = name.startswith(("of.stem_", "of.stage"))
        (decayed if backbone and weight.ndim == 4 else free).append(weight)
    # The gradient of L2 w^2 is 2 L2 w.
    groups = [{"params": decayed, "weight_decay": 2 * L2}, {"params": free}]
    return torch.optim.Adam(groups, lr=1e-3, eps=1e-7, fused=DEVICE == "cuda")


def in_precision() -> torch.autocast:
    """A context in which convolutions are computed in `PRECISION`."""
    half = PRECISION is not torch.float32
    return torch.autocast(DEVICE, PRECISION if half else None, enabled=half)


def train_step(network: nn.Module, optimizer, pictures, labels) -> float:
    """One step in `PRECISION`; returns the loss.

    Args:
        network: a `Network`, or what `torch.compile` made of it.
        optimizer: from `adam` with the `Network`.
        pictures: (B, H, W, 3) uint8, an array or a tensor.
        labels: (B, H, W) uint8 class ids, likewise.
    """
    network.train()
    with in_precision():
        logits = network(as_input(pictures))
        labels = torch.as_tensor(labels).to(DEVICE, non_blocking=True).long()
        loss = functional.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def class_ids(network: nn.Module, pictures: np.ndarray | torch.Tensor) -> np.ndarray:
    """The class of every pixel, in `PRECISION`: (B, H, W, 3) uint8 -> (B, H, W) uint8."""
    network.eval()
    with torch.inference_mode(), in_precision():
        return network(as_input(pictures)).argmax(1).to(torch.uint8).cpu().numpy()


def segment(network: nn.Module, picture: np.ndarray) -> np.ndarray:
    """The class of every pixel of one picture: (H, W, 3) uint8 -> (H, W) uint8."""
    return class_ids(network, picture[None])[0]


def copy_weights(model, network: Network) -> None:
    """Give `network` the weights of a Keras model, layer by layer."""
    backbone = next(layer for layer in model.layers if hasattr(layer, "layers"))
    keras_layers = {layer.name: layer for layer in [*backbone.layers, *model.layers]}
    for name, module in network.of.items():
        weights = [torch.from_numpy(weight) for weight in keras_layers[name].get_weights()]
        if isinstance(module, nn.BatchNorm2d):
            targets = module.weight, module.bias, module.running_mean, module.running_var
        else:
            # (H, W, in, out) to (out, in, H, W); transposed (H, W, out, in) to (in, out, H, W).
            weights[0] = weights[0].permute(3, 2, 0, 1)
            targets = module.weight, module.bias
        with torch.no_grad():
            for target, weight in zip(targets, weights, strict=True):
                target.copy_(weight)
