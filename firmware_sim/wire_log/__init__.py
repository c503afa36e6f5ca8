"""Record a wire between any client and a device, stand in for the device, compare an emulator."""
