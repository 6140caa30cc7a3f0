"""The admin's index: `ranges` validates its range, `figures` makes its context, `visits` alone writes the visits."""
