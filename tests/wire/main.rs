//! Proof on the wire: the template that ships is read, judged, deployed on loopback and told a story.
//!
//! Time is the machine's here, so tests wait; each wait polls and has a deadline.

#[cfg(test)]
mod lint;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod template;
