"""A convolutional network with BatchNorm and residual connections, in plain torch."""

from torch import nn


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()


def build(info, channels=8, blocks=2):
    return nn.Sequential(
        nn.Conv2d(info.shape[0], channels, 3, padding=1),
        *[Block(channels) for _ in range(blocks)],
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * channels, info.classes),
    )
