//! What a store has to be, whatever it is made of.

mod model;
mod rules;
