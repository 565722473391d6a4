"""Lists the FFmpeg formats that are read: those whose media lie whole in one file.

FFmpeg also reads playlists, scripts and lists of other files, whatever their names say. A file from a stranger could so
open any other file of this computer, or wait for one for ever. What is not named here is refused before it is opened.
"""

VIDEO = (
    "mov,mp4,m4a,3gp,3g2,mj2 matroska,webm avi flv live_flv kux asf asf_o mpeg mpegts mpegvideo m4v h261 h263 h264 "
    "hevc vvc av1 obu ivf ogg mxf gxf nut nuv rm ivr dv wtv dhav yuv4mpegpipe mjpeg mjpeg_2000 smjpeg mpjpeg vc1 "
    "vc1test dirac dnxhd cavsvideo avs2 avs3 evc roq swf nsv ty pva flic bink smk film_cpk viv vivo gdv rpl 4xm amv "
    "ipu lxf mtv sdr2 thp v210 rawvideo"
)
SOUND = (
    "wav w64 flac mp3 aac ac3 eac3 ac4 amr amrnb amrwb aiff au caf ape mpc mpc8 wv tta tak dts dtshd truehd mlp voc "
    "sox ircam nistsphere gsm g722 g723_1 g726 g729 oma aa aax dsf dss qcp adx xwma sbc lc3 loas shn vqf osq qoa bonk "
    "rka avr pvf paf sln alaw mulaw iff wve codec2 spdif iamf apac act"
)
STILL = (
    "image2 apng gif ico fits jpegxl_anim bmp_pipe dds_pipe dpx_pipe exr_pipe gif_pipe hdr_pipe j2k_pipe jpeg_pipe "
    "jpegls_pipe jpegxl_pipe jpegxs_pipe pam_pipe pbm_pipe pcx_pipe pfm_pipe pgm_pipe pgmyuv_pipe phm_pipe "
    "pictor_pipe png_pipe ppm_pipe psd_pipe qdraw_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe webp_pipe xbm_pipe "
    "xpm_pipe xwd_pipe webp_anim"
)
# ``pattern_type``: img%03d.jpg is a file's name, not that of img001.jpg and those that follow.
OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(f"{VIDEO} {SOUND} {STILL}".split()),
    "pattern_type": "none",
}
