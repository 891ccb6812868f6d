mod analysis;
mod analysis_properties;
