"""What tests of every part share: real servers, and one way to wait."""
