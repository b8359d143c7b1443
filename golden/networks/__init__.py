"""Networks to compile: a small one for scikit-learn's digits, and ResNets for CIFAR-10."""
