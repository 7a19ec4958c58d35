"""Facts as data: what can be bought where, each table with its source and date. Nothing is computed or guessed here."""
