"""The provider's API as our side speaks it; vectors are the provider's own or the official SDK's."""
