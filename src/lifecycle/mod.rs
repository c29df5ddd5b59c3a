//! L8, registration, start and stop order.
