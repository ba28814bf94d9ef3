//! Every knob: flag, environment variable, unit, default, validation.
