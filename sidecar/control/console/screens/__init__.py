"""One module for each screen: what it asks for and which template shows it."""
