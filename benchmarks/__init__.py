"""What makes the speed figures in docs/performance.md, and the floor beside them."""
