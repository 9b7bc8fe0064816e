"""The same work in PyTorch (eager) and diffusers. Imported only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from alchemint_jax.bench import hardware, memory, programs
from alchemint_jax.bench.cases import Case
from alchemint_jax.bench.measure import Side
from alchemint_jax.bench.runner import Counterpart
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.vae import VARIANTS, TinyDecoderConfig
from alchemint_jax.train.optimizer import OptimizerConfig
from alchemint_jax.weights.layouts import dit as dit_layout
from alchemint_jax.weights.layouts import vae as vae_layout


def counterpart(platform: str) -> Counterpart:
    """All of this, next to JAX on a platform. Raises a ConfigError where PyTorch cannot run."""
    where = place(platform)
    return Counterpart(
        build=lambda case: build(case, where),
        packages=("torch", "diffusers"),
        release=torch.cuda.empty_cache if where.type == "cuda" else lambda: None,
        memory=None if where.type == "cuda" else partial(memory.alone, _call),
    )


def _call(case: Case) -> Callable[[], Any]:
    """A call on a CPU."""
    return build(case, place("cpu")).call


def place(platform: str) -> torch.device:
    """Where PyTorch does its work, next to JAX; on a CPU with as many threads as XLA.

    Args:
        platform: that JAX runs on.

    Raises:
        ConfigError: PyTorch cannot run there.
    """
    if platform == "cpu":
        torch.set_num_threads(hardware.threads())
        return torch.device("cpu")
    if platform in ("gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    raise ConfigError(
        f"--vs torch: JAX runs on {platform}, where this PyTorch ({torch.__version__}) does not; "
        "JAX_PLATFORMS=cpu compares them on the CPU"
    )


def build(case: Case, where: torch.device) -> Side:
    """Model, data and calls of a case that has a counterpart (see `Case.no_counterpart`)."""
    torch.manual_seed(0)
    half = case.dtype == "bfloat16"
    run = _BUILDERS[case.kind](case, where, half)
    if where.type == "cpu":
        return Side(run, lambda result: result, hardware.peak_memory)
    return Side(run, lambda result: torch.cuda.synchronize(), _cuda_memory)


def _cuda_memory(call: Callable[[], Any]) -> dict[str, Any]:
    torch.cuda.reset_peak_memory_stats()
    call()
    peak = torch.cuda.max_memory_allocated()
    return {"bytes": peak, "of": "device", "scope": "this call", "before": None}


def transformer(case: Case, where: torch.device) -> Any:
    """The transformer of a case, with fresh float32 parameters."""
    model = WanTransformer3DModel.from_config(dit_layout.config_to_diffusers(case.task.model))
    return model.to(where)


def _for_use(case: Case, where: torch.device, half: bool) -> Any:
    """As diffusers holds it to generate: in half precision all but what it says must not be."""
    model = transformer(case, where).eval().requires_grad_(False)
    if half:
        kept = set(model._keep_in_fp32_modules or ())
        for name, parameter in model.named_parameters():
            if not kept & set(name.split(".")):
                parameter.data = parameter.data.to(torch.bfloat16)
    return model


def _given(case: Case, where: torch.device) -> dict[str, torch.Tensor]:
    """Latents (channels first), texts and times."""
    batch = programs.arrays(case)
    found = {name: torch.from_numpy(batch[name]) for name in ("latents", "text", "null_text")}
    found["latents"] = found["latents"].movedim(-1, 1).contiguous()
    found["time"] = torch.linspace(0.1, 0.9, case.work.batch)
    return {name: x.to(where) for name, x in found.items()}


def _velocity(model: Any, z: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    return model(z, 1000 * time, text, return_dict=False)[0]


def _forward(case: Case, where: torch.device, half: bool) -> Callable[[], Any]:
    model, given = _for_use(case, where, half), _given(case, where)
    dtype = torch.bfloat16 if half else torch.float32
    z, text, time = given["latents"].to(dtype), given["text"].to(dtype), given["time"]

    @torch.inference_mode()
    def run() -> Any:
        return _velocity(model, z, time, text)

    return run


def _sample(case: Case, where: torch.device, half: bool) -> Callable[[], Any]:
    """One Euler step; another solver's would only add a few sums of arrays as large as latents."""
    model, given = _for_use(case, where, half), _given(case, where)
    dtype = torch.bfloat16 if half else torch.float32
    plan = case.task.sampling.plan()
    branches = plan.guidance.branches()
    grid = plan.levels()
    time, change = float(grid.times[0]), float(grid.sigmas[1] - grid.sigmas[0])
    texts = [given["text" if branch.with_text else "null_text"] for branch in branches]
    text = torch.cat(texts).to(dtype)
    weights = torch.tensor(list(branches.values()), device=where).view(-1, 1, 1, 1, 1, 1)
    latents = given["latents"]

    @torch.inference_mode()
    def run() -> Any:
        z = torch.cat([latents] * len(branches)).to(dtype)
        times = torch.full((len(z),), time, device=where)
        v = _velocity(model, z, times, text).float().view(len(branches), *latents.shape)
        return latents + change * (weights * v).sum(0)

    return run


def _train(case: Case, where: torch.device, half: bool) -> Callable[[], Any]:
    """Noise, loss, gradients, clipping, AdamW and the average of the weights, as our step has."""
    model, given = transformer(case, where).train(), _given(case, where)
    if case.task.model.remat != "none":
        model.enable_gradient_checkpointing()
    parameters = list(model.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    config = case.optimizer
    optimizer = _optimizer(parameters, config)
    data, b = given["latents"], case.work.batch

    def run() -> Any:
        t = torch.rand(b, device=where)
        t = case.task.shift * t / (1 + (case.task.shift - 1) * t)
        mix, noise = t.view(-1, 1, 1, 1, 1), torch.randn_like(data)
        z = (1 - mix) * data + mix * noise
        empty = (torch.rand(b, device=where) < case.task.dropout.text).view(-1, 1, 1)
        text = torch.where(empty, given["null_text"], given["text"])
        with torch.autocast(where.type, torch.bfloat16, enabled=half):
            v = _velocity(model, z, t, text)
        loss = ((v.float() - (noise - data)) ** 2).mean()
        loss.backward()
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1 - config.ema_decay)
        return loss.detach()

    return run


def _optimizer(parameters: list[Any], config: OptimizerConfig) -> torch.optim.Optimizer:
    """PyTorch's AdamW in its fastest form."""
    return torch.optim.AdamW(
        parameters,
        lr=config.groups[0][1],
        betas=(config.b1, config.b2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def autoencoder(case: Case, where: torch.device) -> Any:
    """The autoencoder of a case, in tiles where ours is: both have the same.

    Beside a small decoder it is the one that the small one stands in for.
    """
    config = VARIANTS["wan2.1"] if isinstance(case.vae, TinyDecoderConfig) else case.vae
    model = AutoencoderKLWan.from_config(vae_layout.config_to_diffusers(config))
    if case.tiled:
        model.enable_tiling()
    return model.to(where).eval().requires_grad_(False)


def _encode(case: Case, where: torch.device, half: bool) -> Callable[[], Any]:
    del half
    model = autoencoder(case, where)
    video = 2 * torch.rand(case.work.batch, 3, case.work.frames, *case.work.size) - 1
    video = video.to(where)

    @torch.inference_mode()
    def run() -> Any:
        return model.encode(video).latent_dist.mode()

    return run


def _decode(case: Case, where: torch.device, half: bool) -> Callable[[], Any]:
    del half
    model = autoencoder(case, where)
    latents = torch.randn(case.work.batch, case.vae.z_dim, *case.grid).to(where)

    @torch.inference_mode()
    def run() -> Any:
        return model.decode(latents).sample

    return run


_BUILDERS = {
    "forward": _forward,
    "train": _train,
    "sample": _sample,
    "encode": _encode,
    "decode": _decode,
}
