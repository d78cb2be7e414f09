"""
List the models and their presets, and ask with different sampling.

    python examples/models.py "Why is the sky blue?"

Asks the server that $OA_BASE_URL and $OA_TOKEN or $OA_COOKIE name, else a local one.
"""

from __future__ import annotations

import sys

from oa_client import Client, ConfigurationError, Sampling


def main() -> None:
    """Ask the first model that is listed three times."""
    question = " ".join(sys.argv[1:]) or "Why is the sky blue?"
    with Client() as client:
        models = client.list_models()
        for model in models:
            print(f"{model.name}: {', '.join(preset.name for preset in model.presets)}")

        name = models[0].name
        preset = models[0].presets[0].name
        for sampling in (
            Sampling(temperature=0.1, max_new_tokens=20),
            Sampling(temperature=1.5, max_new_tokens=20),
            Sampling(preset=preset, max_new_tokens=20),
        ):
            answer = client.ask(question, model=name, sampling=sampling)
            made_with = answer.work_parameters or {}
            used = made_with["sampling_parameters"]
            print(f"\ntemperature {used['temperature']}, top_k {used['top_k']}:\n{answer}")

        try:
            client.ask(question, model=name, sampling="no such preset")
        except ConfigurationError as error:
            print(f"\n{error}")


if __name__ == "__main__":
    main()
