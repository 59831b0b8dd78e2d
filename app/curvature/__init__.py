"""The Hessian as an operator, and solvers that know nothing of networks."""
