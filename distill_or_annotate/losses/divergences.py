"""Divergences between the teacher's distribution `p` and the student's `q`, by name.

    forward      KL(p || q) = sum_v p_v (log p_v - log q_v): the student must cover all that the teacher finds likely.
    reverse      KL(q || p): the student may keep to what the teacher finds likeliest.
    jsd(beta)    beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q, 0 < beta < 1: symmetric at 0.5.
                 Divided by beta it tends to `forward` as beta falls to 0, divided by 1 - beta to `reverse` as it rises
                 to 1 (Agarwal et al. 2024, section 3).

Each is written for any number of outcomes, so that it serves whole vocabularies and k tokens with one bucket for the
rest. An outcome of probability 0 adds nothing where its probability is the factor.
"""

from __future__ import annotations

import abc
import dataclasses
import difflib
import math
import re

import jax
import jax.numpy as jnp

_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(\s*([^()]*?)\s*\))?\s*")
_NAMES = ("forward", "reverse", "jsd")


class DivergenceError(ValueError):
    """A divergence's name is unknown, or its argument is missing, needless or out of range."""


@dataclasses.dataclass(frozen=True)
class Divergence(abc.ABC):
    """A divergence from the student's log-probabilities; instances are equal where they compute the same."""

    @property
    @abc.abstractmethod
    def metric(self) -> str:
        """What reports call it."""

    @abc.abstractmethod
    def value(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        """Divergence of each distribution.

        Args:
          log_p: the teacher's log-probabilities `[..., outcomes]`.
          log_q: the student's, same shape.

        Returns:
          `[...]`, at least 0 but for rounding.
        """

    @abc.abstractmethod
    def pull(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        """Each outcome's `q * dD/dq`, up to a constant times `q`; arguments as in `value`."""

    def of_logits(self, teacher: jax.Array, student: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Divergence of two softmaxes, and its gradient to the student's logits.

        Args:
          teacher: logits at the temperature `[..., vocab]`.
          student: logits at the temperature, same shape.

        Returns:
          Values `[...]` and gradients `[..., vocab]`.
        """
        log_p, log_q = jax.nn.log_softmax(teacher), jax.nn.log_softmax(student)
        pull = self.pull(log_p, log_q)
        return self.value(log_p, log_q), pull - jnp.exp(log_q) * jnp.sum(pull, axis=-1, keepdims=True)


class Forward(Divergence):
    """`KL(p || q)`, the paper's."""

    metric = "kl"

    def value(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        return _mean_under(log_p, log_p - log_q)

    def pull(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        del log_q
        return -jnp.exp(log_p)

    def of_logits(self, teacher: jax.Array, student: jax.Array) -> tuple[jax.Array, jax.Array]:
        value = self.value(jax.nn.log_softmax(teacher), jax.nn.log_softmax(student))
        return value, jax.nn.softmax(student) - jax.nn.softmax(teacher)


class Reverse(Divergence):
    """`KL(q || p)`."""

    metric = "reverse_kl"

    def value(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        return _mean_under(log_q, log_q - log_p)

    def pull(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        return _times_probability(log_q, log_q - log_p)


@dataclasses.dataclass(frozen=True)
class JensenShannon(Divergence):
    """`beta KL(p || m) + (1 - beta) KL(q || m)` with `m = beta p + (1 - beta) q`.

    Args:
      beta: the teacher's share of the mean distribution, above 0 and below 1.
    """

    beta: float

    metric = "jsd"

    def value(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        log_m = self._log_mean(log_p, log_q)
        return self.beta * _mean_under(log_p, log_p - log_m) + (1 - self.beta) * _mean_under(log_q, log_q - log_m)

    def pull(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        return (1 - self.beta) * _times_probability(log_q, log_q - self._log_mean(log_p, log_q))

    def _log_mean(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        return jnp.logaddexp(log_p + math.log(self.beta), log_q + math.log1p(-self.beta))


def divergence(name: str | Divergence) -> Divergence:
    """The divergence of that name.

    Args:
      name: `forward`, `reverse`, or `jsd(BETA)` such as `jsd(0.5)`; a divergence is returned as it is.

    Returns:
      The divergence.

    Raises:
      DivergenceError: for another name, near ones listed, or a beta that is missing, needless or out of range.
    """
    if isinstance(name, Divergence):
        return name
    match = _FORM.fullmatch(name) if isinstance(name, str) else None
    word, argument = (match[1], match[2]) if match else (str(name), None)
    if word not in _NAMES:
        near = difflib.get_close_matches(word.lower(), _NAMES, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DivergenceError(f"divergence is {name!r}; allowed: 'forward', 'reverse', 'jsd(BETA)'.{hint}")
    if word != "jsd":
        if argument is not None:
            raise DivergenceError(f"divergence is {name!r}, but {word!r} takes no argument. Fix: {word!r}.")
        return Forward() if word == "forward" else Reverse()
    try:
        beta = float(argument or "")
    except ValueError:
        beta = math.nan
    if not 0 < beta < 1:
        raise DivergenceError(
            f"divergence is {name!r}; jsd needs a beta above 0 and below 1, such as 'jsd(0.5)' (towards 0 it acts as "
            "'forward', towards 1 as 'reverse')."
        )
    return JensenShannon(beta)


def _times_probability(log_probability: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.where(log_probability > -jnp.inf, jnp.exp(log_probability) * x, 0.0)


def _mean_under(log_probability: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.sum(_times_probability(log_probability, x), axis=-1)
