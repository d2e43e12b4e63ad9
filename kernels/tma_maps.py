"""How TMA sees attention's inputs and output: no tile runs past its head or its sequence."""

FAR = 2**30  # rows of a packed tensor's descriptor


def tensor_map(
    shape: tuple[int, ...], strides: tuple[int, ...], rows: int, columns: int, packed: bool
) -> tuple[list[int], list[int], list[int]]:
    """Extents, strides and block of a descriptor for [batch, length, heads, width].

    A block is `rows` rows of one head, filled up to `columns` with zeros. The dimensions are
    [batch, heads, length, width]; packed, [most, most, heads, FAR, width]: a coordinate of FAR
    times a stride of 2**34 - row elements wraps around to -FAR rows, so at [FAR, begin + length,
    head, FAR - length + row, column] the row coordinate ends at its extent where the sequence ends.
    """
    # The stride of a dimension of one element is arbitrary; TMA wants it to be a multiple of 16.
    step, row_step, head_step = (
        stride if extent > 1 else 16 for extent, stride in zip(shape[:3], strides[:3], strict=True)
    )
    batch, length, heads, width = shape
    if packed:
        most = 2**31 - 2**16
        extents = [most, most, heads, FAR, width]
        steps = [2**34 - row_step, row_step, head_step, row_step, 1]
    else:
        extents = [batch, heads, length, width]
        steps = [step, head_step, row_step, 1]
    return extents, steps, [1] * (len(extents) - 2) + [rows, columns]
