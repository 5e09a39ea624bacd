//! What a joined stream must have in common with the one it is joined to.

use ffmpeg_next::format::context::Input;

/// The codec's own headers, as they stand beside the packets.
pub fn headers(input: &Input, index: usize) -> Vec<u8> {
    let Some(stream) = input.stream(index) else { return Vec::new() };
    // SAFETY: the parameters live as long as `input`, their headers have as many bytes as they say; the bytes are copied.
    unsafe {
        let par = (*stream.as_ptr()).codecpar;
        let (at, size) = ((*par).extradata, (*par).extradata_size);
        if at.is_null() || size <= 0 { Vec::new() } else { std::slice::from_raw_parts(at, size as usize).to_vec() }
    }
}

/// How many pictures may be stored before one that is shown earlier, 0 to 16.
pub fn delay(input: &Input, index: usize) -> usize {
    // SAFETY: the parameters live as long as `input`.
    input.stream(index).map_or(0, |stream| unsafe { (*(*stream.as_ptr()).codecpar).video_delay }).clamp(0, 16) as usize
}
