"""The compact model in use: loaded from whatever form it has, asked for predictions, exported, timed."""
