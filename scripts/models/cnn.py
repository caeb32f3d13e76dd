"""A small convolutional network in numpy: forward, backward and Adam, enough to train on a few thousand digits.

Layers know their parameters and gradients; activations are float32 in NCHW. Training takes a minute or two on one core, so
building the models needs no machine-learning framework.
"""

import numpy as np


class Conv:
    """Valid convolution with stride 1: [N, C, H, W] -> [N, K, H - size + 1, W - size + 1]."""

    def __init__(self, rng, channels_in, channels_out, size):
        fan_in = channels_in * size * size
        self.weight = rng.normal(0, np.sqrt(2 / fan_in), (channels_out, channels_in, size, size)).astype(np.float32)
        self.bias = np.zeros(channels_out, np.float32)
        self.size = size

    def forward(self, x):
        windows = np.lib.stride_tricks.sliding_window_view(x, (self.size, self.size), axis=(2, 3))
        n, _, height, width = windows.shape[:4]
        # One row per output pixel, one column per (channel, ky, kx).
        self.columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, -1)
        self.input_shape = x.shape
        y = self.columns @ self.weight.reshape(len(self.weight), -1).T + self.bias
        return np.ascontiguousarray(y.reshape(n, height, width, -1).transpose(0, 3, 1, 2))

    def backward(self, grad):
        n, k, height, width = grad.shape
        rows = grad.transpose(0, 2, 3, 1).reshape(-1, k)
        self.weight_grad = (rows.T @ self.columns).reshape(self.weight.shape)
        self.bias_grad = rows.sum(axis=0)
        columns = (rows @ self.weight.reshape(k, -1)).reshape(n, height, width, -1, self.size, self.size)
        grad_x = np.zeros(self.input_shape, np.float32)
        for ky in range(self.size):
            for kx in range(self.size):
                grad_x[:, :, ky:ky + height, kx:kx + width] += columns[..., ky, kx].transpose(0, 3, 1, 2)
        return grad_x

    def parameters(self):
        return ("weight", "bias")


class Linear:
    """[N, I] -> [N, O]; the weight is [O, I], as Gemm with transB=1 takes it."""

    def __init__(self, rng, features_in, features_out):
        self.weight = rng.normal(0, np.sqrt(2 / features_in), (features_out, features_in)).astype(np.float32)
        self.bias = np.zeros(features_out, np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, grad):
        self.weight_grad = grad.T @ self.x
        self.bias_grad = grad.sum(axis=0)
        return grad @ self.weight

    def parameters(self):
        return ("weight", "bias")


class Relu:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, grad):
        return grad * self.mask

    def parameters(self):
        return ()


class MaxPool2:
    """Maximum of 2x2 windows; height and width are even."""

    def forward(self, x):
        n, c, height, width = x.shape
        windows = x.reshape(n, c, height // 2, 2, width // 2, 2)
        y = windows.max(axis=(3, 5))
        mask = windows == y[:, :, :, None, :, None]
        self.mask = mask / mask.sum(axis=(3, 5), keepdims=True, dtype=np.float32)  # equal values share the gradient
        return y

    def backward(self, grad):
        n, c, height, width = grad.shape
        return (self.mask * grad[:, :, :, None, :, None]).reshape(n, c, 2 * height, 2 * width)

    def parameters(self):
        return ()


class Flatten:
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, grad):
        return grad.reshape(self.shape)

    def parameters(self):
        return ()


def softmax_cross_entropy(logits, labels):
    """Mean loss and its gradient by the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    probability = np.exp(shifted)
    probability /= probability.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(probability[rows, labels] + 1e-12).mean()
    probability[rows, labels] -= 1
    return loss, probability / len(labels)


class Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1) over the parameters of a list of layers."""

    def __init__(self, layers, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.slots = [(layer, name, np.zeros_like(getattr(layer, name)), np.zeros_like(getattr(layer, name)))
                      for layer in layers for name in layer.parameters()]
        self.beta1, self.beta2, self.epsilon, self.step_count = beta1, beta2, epsilon, 0

    def step(self, rate):
        self.step_count += 1
        correction = np.sqrt(1 - self.beta2 ** self.step_count) / (1 - self.beta1 ** self.step_count)
        for layer, name, mean, square in self.slots:
            grad = getattr(layer, name + "_grad")
            mean += (1 - self.beta1) * (grad - mean)
            square += (1 - self.beta2) * (grad * grad - square)
            value = getattr(layer, name)
            value -= rate * correction * mean / (np.sqrt(square) + self.epsilon)


def forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def accuracy(layers, x, labels, batch=250):
    hits = sum((forward(layers, x[i:i + batch]).argmax(axis=1) == labels[i:i + batch]).sum()
               for i in range(0, len(x), batch))
    return hits / len(x)


def shifted(rng, x, limit=2):
    """Every image moved by up to `limit` pixels: cheap augmentation for small training sets."""
    out = np.zeros_like(x)
    height, width = x.shape[2:]
    for i, (dy, dx) in enumerate(rng.integers(-limit, limit + 1, (len(x), 2))):
        out[i, :, max(dy, 0):height + min(dy, 0), max(dx, 0):width + min(dx, 0)] = \
            x[i, :, max(-dy, 0):height + min(-dy, 0), max(-dx, 0):width + min(-dx, 0)]
    return out


def train(layers, x, labels, *, epochs, batch, rate, seed, log=print):
    """Trains in place with a cosine-shaped learning rate."""
    rng = np.random.default_rng(seed)
    adam = Adam(layers)
    steps = epochs * (len(x) // batch)
    step = 0
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        losses = []
        for start in range(0, len(x) - batch + 1, batch):
            index = order[start:start + batch]
            loss, grad = softmax_cross_entropy(forward(layers, shifted(rng, x[index])), labels[index])
            for layer in reversed(layers):
                grad = layer.backward(grad)
            adam.step(rate * 0.5 * (1 + np.cos(np.pi * step / steps)))
            losses.append(loss)
            step += 1
        log(f"  epoch {epoch + 1:2d}/{epochs}: loss {np.mean(losses):.4f}")
