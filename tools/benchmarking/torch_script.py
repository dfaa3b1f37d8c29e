"""A PyTorch script: images in memory, gathered by index, and a fused Adam.

Its modes: eager, compiled (the loss is, by `torch.compile`), and bfloat16 (compiled, under autocast).
"""

import torch
from torch.nn import functional

from benchmarking.clock import main
from benchmarking.torch_networks import build, images_first


class VAE(torch.nn.Module):
    """The negative bound of a batch, in nats an image."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        """x [B,C,H,W] → the mean loss []."""
        mean, log_var = self.encoder(x).float().chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        reconstruction = functional.binary_cross_entropy_with_logits(self.decoder(z).float(), x, reduction="sum")
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum()
        return (reconstruction + kl) / len(x)


def train(case, clock, mode):
    images = torch.from_numpy(images_first(case.images()))
    vae = VAE(*build(case.model, images.shape[1:]))
    optimizer = torch.optim.Adam(vae.parameters(), lr=case.learning_rate, fused=True)
    loss_of = vae if mode == "eager" else torch.compile(vae)
    half = torch.autocast("cpu", torch.bfloat16, enabled=mode == "bfloat16")
    steps = len(images) // case.batch
    for _ in range(case.epochs):
        with clock.epoch(steps * case.batch):
            total = torch.zeros(())
            order = torch.randperm(len(images))[: steps * case.batch]
            for indices in order.split(case.batch):
                with half:
                    loss = loss_of(images[indices])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach()
                clock.step()
    return sum(parameter.numel() for parameter in vae.parameters()), total / steps


if __name__ == "__main__":
    main(train)
