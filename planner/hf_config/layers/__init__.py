"""What layers of every family are made of, and how they make up a Model. Imports no other room."""
