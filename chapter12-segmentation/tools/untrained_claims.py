"""What overviews say of the networks that needs no training to be decided."""

# Of what, what is said, whether it holds, and the file and the test that show it.
UNTRAINED = (
    ("FCN", "takes pictures of any size", "holds", "test_fcn", "test_any_size"),
    (
        "FCN",
        "enlarges by what is not trained",
        "holds",
        "test_fcn",
        "test_nothing_is_trained_in_enlarging",
    ),
    ("SegNet", "unpooling needs no weights", "holds", "test_segnet", "test_parameters_of_segnet"),
    (
        "SegNet",
        "unpooling knows nothing of a pixel's neighbours",
        "holds; the convolutions behind it do",
        "test_deconvnet",
        "test_unpooled_maps_are_sparse",
    ),
    (
        "U-Net",
        "the answer is smaller than the picture",
        "holds of valid convolutions",
        "test_unet",
        "test_the_paper_s_own_size",
    ),
    ("U-Net", "suits medical pictures", "is not measured: there are none here", "", ""),
    (
        "UNet++",
        "can be cut off behind any head",
        "holds",
        "test_unetplusplus",
        "test_cut_off_it_is_its_head_bit_for_bit",
    ),
    (
        "DeepLab v1",
        "holes widen the field on a map that stays large",
        "holds",
        "test_deeplab",
        "test_field_of_view",
    ),
    (
        "DeepLab v3",
        "a rate as large as the map leaves a 1x1 convolution",
        "holds",
        "test_deeplab",
        "test_at_a_rate_beyond_the_map_its_centre_is_left",
    ),
    (
        "DeepLab v3",
        "at 1/8 and 1/16 the same weights",
        "holds, but for image pooling",
        "test_deeplab",
        "test_every_second_value_at_a_stride_of_8_is_that_at_16",
    ),
    (
        "DeepLab v3",
        "normalisation in the pyramid, and more blocks, help",
        "is not measured: nothing is left out here",
        "",
        "",
    ),
    (
        "RefineNet",
        "drawbacks: its advantages, once more",
        "is none: the overview repeats itself",
        "",
        "",
    ),
    (
        "PSPNet",
        "the second head costs nothing in prediction",
        "holds",
        "test_pspnet",
        "test_without_the_second_head_the_answer_is_the_same",
    ),
    (
        "GCN",
        "k x k in columns and rows has 2/k of the parameters",
        "holds",
        "test_gcn",
        "test_a_large_kernel_has_two_kths_of_the_parameters_of_a_full_one",
    ),
    (
        "FPN",
        "enlarges without weights, and adds",
        "holds",
        "test_fpn",
        "test_a_lateral_is_added_to_its_level_and_all_finer_ones",
    ),
    (
        "FPN",
        "predicts on every level",
        "holds of detection; here levels are added, then scored",
        "test_fpn",
        "test_levels_are_added",
    ),
    (
        "adversary",
        "one verdict a pixel",
        "holds of Hung's",
        "test_discriminators",
        "test_hung_judges_each_pixel_by_what_is_near",
    ),
    (
        "adversary",
        "data enlarged by pictures made of noise",
        "holds of Souly's",
        "test_adversarial",
        "test_soulys_players_want_the_opposite",
    ),
    (
        "CRF as RNN",
        "layers that are the mean field",
        "holds",
        "test_crf_rnn",
        "test_layers_are_the_mean_field",
    ),
    (
        "CRF as RNN",
        "as many iterations as classes",
        "is wrong: 5 in training, 10 in prediction",
        "test_crf_rnn",
        "test_the_network_has_five_iterations_in_training_and_ten_in_prediction",
    ),
    (
        "upsampling",
        "overlaps of transposed convolutions add up",
        "holds where the stride does not divide the kernel",
        "test_upsampling",
        "test_a_chequerboard_where_the_stride_does_not_divide_the_kernel",
    ),
)


def untrained() -> str:
    """A Markdown table of what is said and no training decides."""
    lines = ["| of | it is said | which | shown by |", "|---|---|---|---|"]
    for method, text, verdict, file, test in UNTRAINED:
        shown = f"`{test}` in `tests/{file}.py`" if test else ""
        lines.append(f"| {method} | {text} | {verdict} | {shown} |")
    return "\n".join(lines) + "\n"
