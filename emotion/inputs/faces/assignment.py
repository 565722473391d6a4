"""Matches faces with tracks, or people with references, at the least total cost: the assignment problem."""

import numpy as np


def assign_least_cost(costs: np.ndarray) -> list[tuple[int, int]]:
    """Pairs rows with columns so that the sum of the pairs' costs is least (Kuhn 1955, in Munkres's form of 1957).

    One row after the other is added: the cheapest way to rearrange the pairs so far is found as Dijkstra finds it, on
    costs that potentials of rows and columns keep from being negative.

    Args:
        costs: ``(n_rows, n_columns)``, finite.

    Returns:
        As many pairs (row, column) as the shorter side has, by row.
    """
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign_least_cost(costs.T))
    n_rows, n_columns = costs.shape
    of_rows, of_columns = np.zeros(n_rows), np.zeros(n_columns)
    row_of = np.full(n_columns, -1)
    for added in range(n_rows):
        row, column = added, -1
        distances, before = np.full(n_columns, np.inf), np.full(n_columns, -1)
        is_done = np.zeros(n_columns, bool)
        reached = 0.0
        while True:
            through = reached + costs[row] - of_rows[row] - of_columns
            is_nearer = ~is_done & (through < distances)
            distances[is_nearer], before[is_nearer] = through[is_nearer], column
            column = int(np.where(is_done, np.inf, distances).argmin())
            reached = distances[column]
            if row_of[column] < 0:
                break
            is_done[column], row = True, row_of[column]
        of_rows[added] += reached
        of_rows[row_of[is_done]] += reached - distances[is_done]
        of_columns[is_done] -= reached - distances[is_done]
        while column >= 0:
            row_of[column] = added if before[column] < 0 else row_of[before[column]]
            column = int(before[column])
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)
