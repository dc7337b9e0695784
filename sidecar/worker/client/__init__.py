"""The client's side: from bytes to exchanges, strictly, and back."""
