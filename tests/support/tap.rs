//! A wire tap.
