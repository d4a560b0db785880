//! The chart and what is made of it, judged by Helm and by a real API server.
//!
//! In: charts/wsgateway, manifests/. Must hold: everything rendered is valid, bad values are refused with their
//! name, and the operator's account may do what the operator does and nothing else.

/// The files of the folder `chart/`.
mod chart {
    mod access;
    mod again;
    mod cluster;
    mod documented;
    mod helm;
    mod lifecycle;
    mod values;
}
