"""C++ from traced torch programs: for small tensors, where calling operations costs more than their arithmetic."""
