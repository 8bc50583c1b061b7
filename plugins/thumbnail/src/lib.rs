//! Images to thumbnails.
